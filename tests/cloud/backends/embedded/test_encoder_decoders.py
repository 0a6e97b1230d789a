"""T5 and BART: the answers and scores of transformers, one query at a time, drafts included."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query, ScoreQuery
from escalade.v1 import cascade_pb2 as pb

WINDOW = 48


@pytest.fixture(scope="module", params=["t5", "bart"])
def folder(request: pytest.FixtureRequest, tiny_t5: Path, tiny_bart: Path) -> Path:
    return tiny_t5 if request.param == "t5" else tiny_bart


@pytest.fixture(scope="module")
def seq2seq(folder: Path) -> TransformersEngine:
    return TransformersEngine.load(str(folder), threads=1)


def prompts(count: int) -> list[tuple[int, ...]]:
    draw = random.Random(3)
    return [tuple(draw.choices(range(4, 32), k=draw.randint(1, 20))) for _ in range(count)]


def test_the_answer_of_generate(seq2seq: TransformersEngine) -> None:
    assert seq2seq.info.context_length == WINDOW
    seen = set()
    for prompt in prompts(20):
        answer = seq2seq.generate(Query(prompt, 12), lambda: None)
        output = seq2seq.network.generate(
            torch.tensor([prompt]),
            max_new_tokens=12,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        assert list(answer.chosen_ids) == output.sequences[0, 1:].tolist()
        logprobs = torch.cat(output.logits).log_softmax(-1).max(-1).values
        assert answer.logprobs == pytest.approx(logprobs.tolist(), abs=1e-3)
        seen |= set(answer.chosen_ids)
    assert len(seen) > 2


def test_any_draft_gives_the_tokens_of_none(seq2seq: TransformersEngine) -> None:
    draw, passes = random.Random(4), 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    handle = seq2seq.network.register_forward_hook(count)
    saved = 0
    for prompt in prompts(40):
        passes = 0
        alone = seq2seq.generate(Query(prompt, 12), lambda: None)
        without, passes = passes, 0
        ids = [*alone.chosen_ids][: draw.randint(1, 12)]
        if draw.random() < 0.5:
            ids[draw.randrange(len(ids))] = draw.randrange(32)
        draft = pb.Draft(tokens=pb.TokenSequence(ids=ids))
        drafted = seq2seq.generate(Query(prompt, 12, draft=draft), lambda: None)
        assert drafted.chosen_ids == alone.chosen_ids
        assert drafted.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
        saved += without - passes
    handle.remove()
    assert saved > 40


def test_scores_of_unlike_lengths_are_those_of_each_alone(seq2seq: TransformersEngine) -> None:
    draw = random.Random(5)
    queries = [
        ScoreQuery(prompt, tuple(draw.choices(range(32), k=draw.randint(1, 9))))
        for prompt in prompts(9)
    ]
    start = seq2seq.network.generation_config.decoder_start_token_id
    for query, scores in zip(queries, seq2seq.score(queries, 5), strict=True):
        with torch.inference_mode():
            logits = seq2seq.network(
                input_ids=torch.tensor([query.prompt_ids]),
                decoder_input_ids=torch.tensor([[start, *query.response_ids[:-1]]]),
            ).logits[0]
        logprobs = logits.log_softmax(-1)
        wanted = logprobs.gather(-1, torch.tensor(query.response_ids)[:, None])[:, 0]
        np.testing.assert_allclose(scores.response_logprobs, wanted, atol=1e-3)
        np.testing.assert_allclose(scores.top_logprobs, logprobs.topk(5).values, atol=1e-3)
        np.testing.assert_array_equal(scores.argmax, logits.argmax(-1))


def test_the_batching_backend_says_that_it_takes_one_at_a_time(
    seq2seq: TransformersEngine, together: Any
) -> None:
    queries = [Query(prompt, 9) for prompt in prompts(8)]
    answers, said = together(seq2seq, queries)
    assert len(said) == 1
    assert said[0].startswith("one query at a time: ")
    assert said[0].endswith(": an encoder-decoder")
    for query, answer in zip(queries, answers, strict=True):
        assert answer.chosen_ids == seq2seq.generate(query, lambda: None).chosen_ids


def test_all_of_the_service(seq2seq: TransformersEngine, serving: Any) -> None:
    fingerprint = seq2seq.info.model.tokenizer_fingerprint
    prompt = (7, 9, 11)
    wanted = seq2seq.generate(Query(prompt, 8), lambda: None)
    ids = list(wanted.chosen_ids)[:4]

    def tokens(ids: Any) -> pb.TokenSequence:
        return pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint)

    async def main() -> None:
        async with serving(seq2seq) as running:
            request = pb.GenerateRequest(
                request_id="whole",
                prompt=pb.Prompt(tokens=tokens(prompt)),
                stopping=pb.StoppingOptions(max_new_tokens=8),
            )
            whole = await running.stub.Generate(request)
            assert list(whole.token_ids) == list(wanted.token_ids)
            request.request_id = "streamed"
            streamed = [
                one
                async for one in running.stub.GenerateStream(
                    pb.GenerateStreamRequest(request=request)
                )
            ]
            assert len(streamed) > 1
            verdict = await running.stub.Verify(
                pb.VerifyRequest(
                    request_id="verified",
                    prompt=pb.Prompt(tokens=tokens(prompt)),
                    draft=pb.Draft(tokens=tokens(ids)),
                )
            )
            assert verdict.outcome.accepted_count == len(ids)

    asyncio.run(main())
