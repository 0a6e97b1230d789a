"""What Generate and GetModelInfo answer, against transformers' own `generate`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from escalade.cloud.backends.query import Answer
from escalade.cloud.rpcs.draft import compare_draft
from escalade.v1 import cascade_pb2 as pb

EOS = 2
PROMPTS = [f"w{number:02d}" for number in range(28)]


class Reference:
    """The same model, driven by transformers alone."""

    def __init__(self, folder: Any) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def chosen(self, prompt: str, max_new_tokens: int) -> list[int]:
        """Generated ids, a closing <eos> included."""
        inputs = self.tokenizer(prompt, return_tensors="pt")
        output = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        return output[0, inputs["input_ids"].shape[1] :].tolist()

    def logprobs(self, prompt: str, chosen: list[int]) -> list[float]:
        """Teacher-forced: one forward over prompt and response."""
        ids = [*self.tokenizer(prompt)["input_ids"], *chosen]
        with torch.inference_mode():
            logits = self.model(torch.tensor([ids])).logits[0]
        scores = logits.log_softmax(-1)[-len(chosen) - 1 : -1]
        return scores.gather(1, torch.tensor(chosen)[:, None])[:, 0].tolist()

    def prompt_that(self, ends: bool, within: int) -> tuple[str, list[int]]:
        """A prompt whose greedy response ends by itself, or does not."""
        for prompt in PROMPTS:
            chosen = self.chosen(prompt, within)
            if (chosen[-1] == EOS) == ends:
                return prompt, chosen
        raise AssertionError("the random model has no such prompt; change its seed")


@pytest.fixture(scope="module")
def reference(tiny_model: Any) -> Reference:
    return Reference(tiny_model)


def ask(serving: Any, engine: Any, *requests: pb.GenerateRequest) -> list[pb.GenerateResponse]:
    async def main() -> list[pb.GenerateResponse]:
        async with serving(engine) as running:
            return [await running.stub.Generate(request) for request in requests]

    return asyncio.run(main())


def query(prompt: str, max_new_tokens: int, **fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        prompt=pb.Prompt(text=prompt),
        stopping=pb.StoppingOptions(max_new_tokens=max_new_tokens),
        output=pb.OutputOptions(logprobs=True),
        **fields,
    )


def test_answers_equal_transformers_generate(serving: Any, engine: Any, reference: Any) -> None:
    prompts = [*PROMPTS[:6], reference.prompt_that(ends=True, within=20)[0], "w01 w02 w03 nonsense"]
    answers = ask(serving, engine, *(query(prompt, 20) for prompt in prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        chosen = reference.chosen(prompt, 20)
        ended = chosen[-1] == EOS
        assert list(answer.token_ids) == (chosen[:-1] if ended else chosen)
        assert list(answer.logprobs) == pytest.approx(reference.logprobs(prompt, chosen), abs=2e-5)
        assert answer.text == reference.tokenizer.decode(chosen, skip_special_tokens=True)
        assert answer.stop_reason == (
            pb.STOP_REASON_END_OF_SEQUENCE if ended else pb.STOP_REASON_MAX_TOKENS
        )
        assert answer.usage.generated_tokens == len(chosen)
        assert answer.usage.prompt_tokens == len(reference.tokenizer(prompt)["input_ids"])


def test_token_prompt_equals_text_prompt(serving: Any, engine: Any) -> None:
    info = engine.info
    tokens = pb.TokenSequence(
        ids=engine.encode("w04 w05"), tokenizer_fingerprint=info.model.tokenizer_fingerprint
    )
    by_text = query("w04 w05", 8)
    by_tokens = query("", 8)
    by_tokens.prompt.tokens.CopyFrom(tokens)
    first, second = ask(serving, engine, by_text, by_tokens)
    assert first.token_ids == second.token_ids
    assert first.logprobs == second.logprobs
    assert first.model.revision == info.model.revision
    assert first.model.tokenizer_fingerprint == info.model.tokenizer_fingerprint


def test_output_options_say_what_comes_back(serving: Any, engine: Any) -> None:
    plain = query("w04", 4)
    plain.ClearField("output")
    bare = query("w04", 4)
    bare.output.CopyFrom(pb.OutputOptions(logprobs=False, text=False))
    first, second = ask(serving, engine, plain, bare)
    assert first.text
    assert not first.logprobs
    assert second.token_ids == first.token_ids
    assert second.text == ""
    assert not second.logprobs


def test_default_length_is_what_the_context_holds(
    serving: Any, engine: Any, reference: Any
) -> None:
    room = engine.info.context_length - 2
    prompt, chosen = reference.prompt_that(ends=False, within=room)
    request = query(prompt, 1)
    request.stopping.ClearField("max_new_tokens")
    (answer,) = ask(serving, engine, request)
    assert list(answer.token_ids) == chosen
    assert len(chosen) == room
    assert answer.stop_reason == pb.STOP_REASON_CONTEXT_LIMIT


def test_stop_sequence_cuts_text_and_tokens(serving: Any, engine: Any, reference: Any) -> None:
    prompt, chosen = reference.prompt_that(ends=True, within=20)
    words = reference.tokenizer.convert_ids_to_tokens(chosen[:-1])
    # The last word, and the words before its first appearance.
    stop = words[-1]
    kept = words.index(stop)
    request = query(prompt, 20)
    request.stopping.stop_sequences.extend(["no such word", stop])
    (answer,) = ask(serving, engine, request)
    assert answer.stop_reason == pb.STOP_REASON_STOP_SEQUENCE
    assert stop not in answer.text
    assert list(answer.token_ids) == chosen[:kept]
    assert len(answer.logprobs) == kept
    assert answer.usage.generated_tokens == kept + 1


def test_draft_outcome_over_the_wire(serving: Any, engine: Any, reference: Any) -> None:
    prompt, chosen = reference.prompt_that(ends=True, within=20)
    fingerprint = engine.info.model.tokenizer_fingerprint
    wrong = [*chosen[:2], (chosen[2] + 1) % 32, *chosen[3:]]
    requests = [
        query(prompt, 20, draft=pb.Draft(tokens=_tokens(ids, fingerprint)))
        for ids in (wrong, chosen[:-1])
    ]
    missed, held = ask(serving, engine, *requests)
    assert missed.draft_outcome.accepted_count == 2
    assert missed.usage.accepted_draft_tokens == 2
    assert missed.draft_outcome.correction_id == chosen[2]
    assert missed.draft_outcome.margin > 0
    assert held.draft_outcome.accepted_count == len(chosen) - 1
    assert held.draft_outcome.correction_id == EOS


@pytest.mark.parametrize(
    ("draft", "start", "accepted", "correction"),
    [
        ([5, 6, 7], 0, 3, EOS),
        ([5, 6, 7, EOS], 0, 4, None),
        ([5, 9, 7], 0, 1, 6),
        ([], 0, 0, 5),
        ([6, 7], 1, 2, EOS),
        ([5], 9, 0, None),
    ],
)
def test_compare_draft(draft: list[int], start: int, accepted: int, correction: int | None) -> None:
    answer = Answer(
        token_ids=[5, 6, 7],
        logprobs=[-0.1] * 4,
        margins=[0.5, 1.5, 2.5, 3.5],
        end_id=EOS,
        text="",
        stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
        prompt_tokens=2,
        generated_tokens=4,
    )
    outcome = compare_draft(answer, draft, start)
    assert outcome.accepted_count == accepted
    assert outcome.HasField("correction_id") == (correction is not None)
    if correction is not None:
        assert outcome.correction_id == correction
        assert outcome.margin == answer.margins[start + accepted]


def test_model_info_is_true(serving: Any, engine: Any, reference: Any) -> None:
    async def main() -> pb.GetModelInfoResponse:
        async with serving(engine, queue_capacity=5) as running:
            return await running.stub.GetModelInfo(pb.GetModelInfoRequest())

    info = asyncio.run(main())
    assert info.model.name == "tiny"
    assert info.engine.startswith("transformers ")
    assert info.parameter_count == sum(p.numel() for p in reference.model.parameters())
    assert info.vocabulary_size == 32
    assert info.context_length == 48
    assert info.max_new_tokens == 47
    assert list(info.end_of_sequence_ids) == [EOS]
    assert info.queue_capacity == 5
    assert list(info.capabilities) == [
        pb.CAPABILITY_GENERATE,
        pb.CAPABILITY_GENERATE_STREAM,
        pb.CAPABILITY_SCORE,
        pb.CAPABILITY_VERIFY,
        pb.CAPABILITY_SAMPLING,
    ]
    assert info.max_top_k == info.vocabulary_size


def _tokens(ids: list[int], fingerprint: str) -> pb.TokenSequence:
    return pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint)
