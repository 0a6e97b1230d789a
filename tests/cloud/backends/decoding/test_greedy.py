"""A draft read ahead: the tokens of the model alone, in fewer passes, whatever the draft says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from escalade.cloud.backends.decoding.greedy import Greedy
from escalade.cloud.backends.drafts import Choice
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query
from escalade.v1 import cascade_pb2 as pb


class Counted:
    """Counts the passes of a model."""

    def __init__(self, network: PreTrainedModel) -> None:
        self.passes = 0
        network.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.passes += 1


@pytest.fixture(scope="module")
def network(tiny_model: object) -> PreTrainedModel:
    return TransformersEngine.load(str(tiny_model), threads=1).network


def take(choices: Iterator[Choice], count: int) -> list[Choice]:
    return list(islice(choices, count))


def test_any_draft_gives_the_tokens_of_none(network: PreTrainedModel) -> None:
    draw = random.Random(4)
    greedy = Greedy(network)
    for _ in range(300):
        prompt = draw.choices(range(4, 32), k=draw.randint(1, 12))
        alone = take(greedy.choices(prompt), 12)
        draft = [choice.token for choice in alone[: draw.randint(0, 11)]]
        if draft and draw.random() < 0.6:
            draft[draw.randrange(len(draft))] = draw.randrange(32)
        with_draft = take(greedy.choices(prompt, draft), 12)
        assert [one.token for one in with_draft] == [one.token for one in alone]
        for got, wanted in zip(with_draft, alone, strict=True):
            assert got.logprob == pytest.approx(wanted.logprob, abs=1e-4)


def test_a_draft_takes_a_pass_and_few_more_where_a_token_is_wrong(network: PreTrainedModel) -> None:
    greedy, counted = Greedy(network), Counted(network)
    prompt = [7, 9, 11]
    alone = take(greedy.choices(prompt), 9)
    assert min(choice.margin for choice in alone) > 1e-3
    assert counted.passes == 9
    draft = [choice.token for choice in alone[:8]]
    unsaid = next(token for token in range(4, 32) if token not in draft)
    for drafted, passes in (
        (draft, 1),
        *(([*draft[:at], unsaid, *draft[at + 1 :]], 2) for at in range(8)),  # another
        *(([*draft[:at], unsaid, *draft[at:]], 2) for at in range(8)),  # one more
        *(([*draft[:at], *draft[at + 1 :]], 4) for at in range(7)),  # one less
        ([unsaid] * 8, 9),
    ):
        counted.passes = 0
        got = take(greedy.choices(prompt, drafted), 9)
        assert [one.token for one in got] == [one.token for one in alone]
        assert counted.passes <= passes, drafted


def test_near_ties_are_decided_as_without_a_draft(tiny_model: object) -> None:
    network = TransformersEngine.load(str(tiny_model), threads=1).network
    greedy, counted = Greedy(network), Counted(network)
    said = take(greedy.choices([4]), 1)[0].token
    with torch.no_grad():  # two tokens that are always exactly as likely
        table = network.get_input_embeddings().weight
        table[3 if said == 2 else 2] = table[said]
    met = 0
    for first in range(4, 32):
        alone = take(greedy.choices([first]), 10)
        draft = [choice.token for choice in alone[:9]]
        counted.passes = 0
        assert [one.token for one in take(greedy.choices([first], draft), 10)] == [
            one.token for one in alone
        ]
        met += any(choice.margin == 0 for choice in alone) and counted.passes > 1
    assert met


def test_a_model_that_lets_its_past_go_takes_no_draft() -> None:
    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=4,
        initializer_range=0.6,
    )
    network = MistralForCausalLM(config).eval()
    greedy, counted = Greedy(network), Counted(network)
    alone = take(greedy.choices([5, 6, 7, 8, 9]), 8)
    counted.passes = 0
    draft = [choice.token for choice in alone[:7]]
    assert take(greedy.choices([5, 6, 7, 8, 9], draft), 8) == alone
    assert counted.passes == 8


def test_the_engine_reads_a_draft_and_stops_where_it_would(engine: TransformersEngine) -> None:
    draw = random.Random(5)
    for _ in range(100):
        prompt = tuple(draw.choices(range(4, 32), k=draw.randint(1, 30)))
        plain = Query(
            prompt,
            draw.randint(1, 47),
            stop_texts=(f"w{draw.randint(0, 27):02d}",) if draw.random() < 0.3 else (),
        )
        alone = engine.generate(plain, lambda: None)
        ids = [*alone.chosen_ids, 5, 6, 2, 7][: draw.randint(1, 50)]
        if draw.random() < 0.5:
            ids[draw.randrange(len(ids))] = draw.randrange(32)
        draft = pb.Draft(tokens=pb.TokenSequence(ids=ids))
        drafted = engine.generate(
            Query(prompt, plain.max_new_tokens, plain.stop_texts, draft=draft), lambda: None
        )
        assert drafted.chosen_ids == alone.chosen_ids
        assert (drafted.text, drafted.stop_reason) == (alone.text, alone.stop_reason)
        assert drafted.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
