"""Drawn tokens: transformers' own distribution, alike for a seed, with the model's own numbers."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice, product

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, PreTrainedModel

from escalade.cloud.backends.decoding.choosing import Chooser
from escalade.cloud.backends.decoding.greedy import Greedy
from escalade.cloud.backends.decoding.teacher_forcing import score_batch
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Sampling, ScoreQuery

PROMPT = (4, 5, 1)


@pytest.fixture(scope="module")
def network(tiny_model: object) -> PreTrainedModel:
    return TransformersEngine.load(str(tiny_model), threads=1).network


class Given:
    """A generator that gives one number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


def reference(network: PreTrainedModel, sampling: Sampling, logits: torch.Tensor) -> torch.Tensor:
    """`(V,)` probabilities as `generate(do_sample=True)` makes them."""
    config = GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
    )
    processors = network._get_logits_processor(config)
    return processors(torch.tensor([[1]]), logits[None])[0].softmax(-1)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [*product([0.3, 1.0, 2.5], [0, 1, 5, 99], [0.2, 0.9, 1.0])],
)
def test_each_token_has_the_share_that_transformers_gives_it(
    network: PreTrainedModel, temperature: float, top_k: int, top_p: float
) -> None:
    draw = torch.Generator().manual_seed(3)
    sampling = Sampling(temperature, top_k, top_p, 0)
    for scale in (0.5, 4.0):
        logits = torch.randn(32, generator=draw) * scale
        shares = reference(network, sampling, logits).double()
        begins = shares.cumsum(0) - shares
        for token, (begin, share) in enumerate(zip(begins.tolist(), shares.tolist(), strict=True)):
            # Within a share, but for the rounding of float32 at its ends, that token is drawn.
            if share < 1e-5:
                continue
            for number in (begin + 0.01 * share, begin + 0.99 * share):
                chooser = Chooser(sampling, 0)
                chooser._rng = Given(number)  # type: ignore[assignment]
                assert chooser(logits).token == token


def test_answers_are_spread_as_those_of_generate(network: PreTrainedModel) -> None:
    """Chi-square of two samples of the first two tokens; the seeds are fixed."""
    count, options = 4000, {"temperature": 4.0, "top_k": 12, "top_p": 0.95}
    torch.manual_seed(5)
    theirs = Counter(
        tuple(row)
        for row in network.generate(  # type: ignore[operator]
            torch.tensor([PROMPT]),
            attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
            do_sample=True,
            max_new_tokens=2,
            min_new_tokens=2,
            eos_token_id=None,
            num_return_sequences=count,
            **options,
        )[:, len(PROMPT) :].tolist()
    )
    first_row = greedy_rows(network, PROMPT)
    ours: Counter[tuple[int, ...]] = Counter()
    seconds = {token: greedy_rows(network, (*PROMPT, token)) for token in range(32)}
    for seed in range(count):
        chooser = Chooser(Sampling(**options, seed=seed), 0)
        first = chooser(first_row).token
        ours[(first, chooser(seconds[first]).token)] += 1
    common = [pair for pair in ours | theirs if ours[pair] + theirs[pair] >= 20]
    statistic = sum(
        (ours[pair] - theirs[pair]) ** 2 / (ours[pair] + theirs[pair]) for pair in common
    )
    freedom = len(common) - 1
    assert freedom >= 10
    # Wilson and Hilferty's approximation of the 99.9 % quantile.
    bound = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < bound
    # The same test tells another temperature.
    hot: Counter[tuple[int, ...]] = Counter()
    for seed in range(count):
        chooser = Chooser(Sampling(5.0, 12, 0.95, seed), 0)
        first = chooser(first_row).token
        hot[(first, chooser(seconds[first]).token)] += 1
    assert sum((hot[pair] - theirs[pair]) ** 2 / (hot[pair] + theirs[pair]) for pair in common) > (
        bound
    )


def greedy_rows(network: PreTrainedModel, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.tensor([ids])).logits[0, -1]


def test_a_seed_draws_the_same_again_and_another_does_not(network: PreTrainedModel) -> None:
    greedy = Greedy(network)

    def drawn(seed: int) -> list[int]:
        chooser = Chooser(Sampling(1.5, 0, 1.0, seed), 0)
        return [one.token for one in islice(greedy.choices(PROMPT, (), chooser), 20)]

    assert drawn(7) == drawn(7)
    assert len({tuple(drawn(seed)) for seed in (*range(9), 1 << 32, (1 << 64) - 1)}) == 11


@pytest.mark.parametrize("sampling", [None, Sampling(2.0, 6, 0.8, 3)])
def test_log_probabilities_are_the_models_own(
    network: PreTrainedModel, sampling: Sampling | None
) -> None:
    greedy = Greedy(network)
    choices = [*islice(greedy.choices(PROMPT, (), Chooser(sampling, 5)), 12)]
    tokens = tuple(choice.token for choice in choices)
    [scores] = score_batch(network, [ScoreQuery(PROMPT, tokens)], 5)
    assert [one.logprob for one in choices] == pytest.approx(
        scores.response_logprobs.tolist(), abs=1e-5
    )
    top = [choice.top for choice in choices]
    ids = np.array([np.frombuffer(row.ids, "<i4") for row in top if row is not None])
    logprobs = np.array([np.frombuffer(row.logprobs, "<f4") for row in top if row is not None])
    assert (ids == scores.top_ids).all()
    assert np.allclose(logprobs, scores.top_logprobs, atol=1e-5)
    assert [one.margin for one in choices] == pytest.approx(
        (logprobs[:, 0] - logprobs[:, 1]).tolist(), abs=1e-5
    )
    if sampling is None:
        assert [*tokens] == [one.token for one in islice(greedy.choices(PROMPT), 12)]
    else:
        assert [*tokens] != ids[:, 0].tolist()


def test_the_coldest_is_the_likeliest_and_the_hottest_is_even() -> None:
    logits = torch.tensor([1.0, 9.0, 8.999, -5.0])
    assert {Chooser(Sampling(1e-38, 0, 1.0, n), 0)(logits).token for n in range(50)} == {1}
    hot = Counter(Chooser(Sampling(3e38, 0, 1.0, n), 0)(logits).token for n in range(4000))
    assert all(900 < hot[token] < 1100 for token in range(4))


@pytest.mark.parametrize("number", [0.0, 1.0, math.nextafter(1.0, 0.0)])
def test_no_number_draws_what_has_no_share(number: float) -> None:
    chooser = Chooser(Sampling(1.0, 2, 1.0, 0), 0)
    chooser._rng = Given(number)  # type: ignore[assignment]
    assert chooser(torch.tensor([0.0, -1.0, 3.0, 2.0, -9.0])).token in {2, 3}


def test_a_model_that_breaks_gives_some_token_and_no_number() -> None:
    choice = Chooser(Sampling(1.0, 0, 1.0, 0), 2)(torch.full((5,), math.nan))
    assert choice.token in range(5)
    assert math.isnan(choice.logprob)
