"""Many queries at once: the answers of one at a time, whoever joins, leaves, runs out of time."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import (
    BYTES_PER_TOKEN,
    PAGE,
    answer_of,
    forever,
    loaded,
    run,
    same,
    some_queries,
)
from transformers import AutoModelForCausalLM, BloomConfig, FalconConfig, PreTrainedConfig

from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Answer, Delta, Query, ScoreQuery
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import (
    DeadlineError,
    EngineDeadError,
    ModelError,
    PromptTooLongError,
)
from escalade.v1 import cascade_pb2 as pb

SMALL: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 32,
    "max_position_embeddings": 48,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("pages", [None, 6])
def test_many_at_once_get_the_answers_of_one_at_a_time(
    tiny_model: Path, engine: TransformersEngine, pages: int | None
) -> None:
    """With 6 pages of memory most wait, and some are read again."""
    queries = some_queries(60)

    async def test(backend: BatchedBackend) -> None:
        answers = await asyncio.gather(*(answer_of(backend, query) for query in queries))
        reasons = {answer.stop_reason for answer in answers}
        assert {pb.STOP_REASON_MAX_TOKENS, pb.STOP_REASON_STOP_SEQUENCE} <= reasons
        for query, got in zip(queries, answers, strict=True):
            assert same(got, engine.generate(query, lambda: None)), query
            assert got.prompt_tokens == len(query.prompt_ids)
            assert got.reports[0].members[0].generated_tokens == got.generated_tokens

    run(tiny_model, test, kv_bytes=None if pages is None else pages * PAGE * BYTES_PER_TOKEN)


def test_deltas_together_are_the_answer(tiny_model: Path) -> None:
    async def deltas_of(backend: BatchedBackend, query: Query) -> list[Delta]:
        return [delta async for delta in backend.generate(query, forever())]

    async def test(backend: BatchedBackend) -> None:
        queries = [query for query in some_queries(40, seed=2) if query.streamed]
        streams = await asyncio.gather(*(deltas_of(backend, query) for query in queries))
        assert max(map(len, streams)) > 2
        for *pieces, last in streams:
            assert last.answer is not None
            ids = [token for piece in pieces for token in piece.token_ids]
            assert ids == list(last.answer.token_ids)[: len(ids)]
            assert last.answer.text.startswith("".join(piece.text for piece in pieces))

    run(tiny_model, test)


def test_a_sequence_that_memory_cannot_hold_is_refused(tiny_model: Path) -> None:
    async def test(backend: BatchedBackend) -> None:
        assert backend.info.context_length == PAGE
        text = Query((), 4, prompt_text="w00 " * PAGE)
        with pytest.raises(PromptTooLongError, match=f"1..{PAGE - 1} tokens"):
            await answer_of(backend, text)
        whole = await answer_of(backend, Query((4,) * (PAGE - 1), 40))
        assert len(whole.chosen_ids) == 1

    run(tiny_model, test, kv_bytes=PAGE * BYTES_PER_TOKEN)


def test_memory_for_less_than_a_page_does_not_start(tiny_model: Path) -> None:
    async def main() -> None:
        async with loaded(tiny_model, PAGE * BYTES_PER_TOKEN - 1):
            pass

    with pytest.raises(ModelError, match=f"at least {PAGE * BYTES_PER_TOKEN} bytes"):
        asyncio.run(main())


def test_who_runs_out_of_time_or_leaves_gives_up_its_place(
    tiny_model: Path, engine: TransformersEngine
) -> None:
    long = Query((4, 5, 6), 40)

    async def test(backend: BatchedBackend) -> None:
        late = Ticket(time.monotonic() - 1, time.monotonic)
        with pytest.raises(DeadlineError):
            await answer_of(backend, long, late)
        leaving = [asyncio.create_task(answer_of(backend, long)) for _ in range(30)]
        await asyncio.sleep(0)
        for task in leaving[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*leaving, return_exceptions=True)
        assert sum(isinstance(one, asyncio.CancelledError) for one in outcomes) == 15
        stayed = [one for one in outcomes if isinstance(one, Answer)]
        assert len(stayed) == 15
        assert all(same(one, engine.generate(long, lambda: None)) for one in stayed)
        assert not backend._alive()._router.takers

    run(tiny_model, test)


def test_scores_are_those_of_an_idle_model_while_queries_run(
    tiny_model: Path, engine: TransformersEngine
) -> None:
    scored = [ScoreQuery((4, 5), (6, 7, 8)), ScoreQuery((9,), (2,))]

    async def test(backend: BatchedBackend) -> None:
        running = [asyncio.create_task(answer_of(backend, one)) for one in some_queries(20)]
        batches = [batch async for batch in backend.score(scored, 3, forever())]
        got = [one for batch in batches for one in batch.scores]
        for one, wanted in zip(got, engine.score(scored, 3), strict=True):
            assert (one.argmax == wanted.argmax).all()
            assert np.allclose(one.response_logprobs, wanted.response_logprobs, atol=1e-5)
        await asyncio.gather(*running)

    run(tiny_model, test)


def test_a_batch_that_fails_is_begun_anew_but_not_for_ever(
    tiny_model: Path, engine: TransformersEngine
) -> None:
    query = Query((4, 5), 6)

    async def test(backend: BatchedBackend) -> None:
        network = backend._transformers.network
        whole = network.forward

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("out of memory")

        network.forward = broken  # type: ignore[method-assign, assignment]
        with pytest.raises(EngineDeadError, match="out of memory"):
            await answer_of(backend, query)
        network.forward = whole  # type: ignore[method-assign]
        assert same(await answer_of(backend, query), engine.generate(query, lambda: None))
        assert backend.health()
        network.forward = broken  # type: ignore[method-assign, assignment]
        for _ in range(3):
            assert backend.health()
            with pytest.raises(EngineDeadError):
                await answer_of(backend, query)
        with pytest.raises(EngineDeadError, match="several times in a row"):
            await answer_of(backend, query)
        assert not backend.health()

    run(tiny_model, test)


def test_who_lost_its_pages_goes_on_when_the_others_leave(
    tiny_model: Path, engine: TransformersEngine
) -> None:
    """Of several that do not fit together one is taken off, then the others are cancelled."""
    draw = random.Random(8)
    queries = [
        query
        for query in (Query(tuple(draw.choices(range(4, 32), k=20)), 28) for _ in range(60))
        if len(engine.generate(query, lambda: None).chosen_ids) == query.max_new_tokens
    ][:3]
    assert len(queries) == 3
    taken_off, go_on = threading.Event(), threading.Event()

    async def test(backend: BatchedBackend) -> None:
        scheduler = backend._alive()._processor.scheduler

        def hold(*_: object) -> None:
            if scheduler.block_new_requests and not taken_off.is_set():
                taken_off.set()
                assert go_on.wait(30)

        backend._transformers.network.register_forward_pre_hook(hold)
        tasks = [asyncio.create_task(answer_of(backend, query)) for query in queries]
        assert await asyncio.to_thread(taken_off.wait, 30), "nobody was taken off the cache"
        names = list(backend._alive()._router.takers)
        waiting = [name in scheduler.waiting_requests for name in names]
        assert any(waiting)
        for waits, task in zip(waiting, tasks, strict=True):
            if not waits:
                task.cancel()
        go_on.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for waits, query, one in zip(waiting, queries, done, strict=True):
            assert isinstance(one, Answer if waits else asyncio.CancelledError)
            assert not isinstance(one, Answer) or same(one, engine.generate(query, lambda: None))

    run(tiny_model, test, kv_bytes=3 * PAGE * BYTES_PER_TOKEN)


def test_what_is_allocated_is_said(tiny_model: Path) -> None:
    said: list[str] = []

    async def main() -> None:
        backend = BatchedBackend(
            lambda: TransformersEngine.load(str(tiny_model), threads=1),
            queue_capacity=1,
            clock=time.monotonic,
            kv_bytes=10 * PAGE * BYTES_PER_TOKEN,
            say=said.append,
        )
        await backend.load()
        backend.close()

    asyncio.run(main())
    assert said == ["KV cache of 0.1 MB: 320 tokens of up to 64 sequences at once"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (BloomConfig(**SMALL, n_layer=1, n_head=4), "its answers are others than alone"),
        (FalconConfig(**SMALL, num_hidden_layers=1, num_attention_heads=4, alibi=True), ""),
    ],
    ids=["wrong", "failing"],
)
def test_what_the_library_gets_wrong_is_computed_one_at_a_time(
    tiny_model: Path,
    tmp_path: Path,
    config: PreTrainedConfig,
    why: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    torch.manual_seed(3)
    network = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(8)
    network.save_pretrained(folder)
    said: list[str] = []

    async def main() -> None:
        engine = TransformersEngine.load(str(folder), threads=1)
        backend = BatchedBackend(
            lambda: engine, queue_capacity=30, clock=time.monotonic, say=said.append
        )
        await backend.load()
        try:
            queries = some_queries(20)
            answers = await asyncio.gather(*(answer_of(backend, one) for one in queries))
            for query, got in zip(queries, answers, strict=True):
                assert got.chosen_ids == engine.generate(query, lambda: None).chosen_ids
            assert backend.health()
        finally:
            backend.close()

    asyncio.run(main())
    assert len(said) == 1
    assert said[0].startswith("one query at a time: this model's cannot be computed together: ")
    assert why in said[0]
    assert "Traceback" not in capfd.readouterr().err
