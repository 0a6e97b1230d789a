"""Drawn answers and likeliest tokens in the batch: those of one query alone."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import numpy as np
import pytest
from batches import (
    BYTES_PER_TOKEN,
    PAGE,
    answer_of,
    forever,
    run,
    same,
    some_queries,
)
from msgspec.structs import replace

from escalade.cloud.backends.decoding.batcher import Batcher
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.batched import SEQUENCES, BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Answer, Delta, Query, Sampling, ScoreQuery, TopRow
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import DeadlineError
from escalade.v1 import cascade_pb2 as pb


def mixed(count: int, seed: int) -> list[Query]:
    """Greedy ones, drawn ones, and those that ask for the likeliest tokens."""
    draw = random.Random(seed)
    return [
        replace(
            query,
            sampling=Sampling(
                draw.choice([0.5, 1.0, 2.0]),
                draw.choice([0, 5]),
                draw.choice([0.8, 1.0]),
                draw.getrandbits(64),
            )
            if draw.random() < 0.6
            else None,
            top_logprobs=draw.choice([0, 0, 1, 4]),
        )
        for query in some_queries(count, seed)
    ]


def rows(top: list[TopRow]) -> np.ndarray:
    return np.array([np.frombuffer(row.logprobs, "<f4") for row in top])


@pytest.mark.parametrize("pages", [None, 6])
@pytest.mark.parametrize("in_the_batch", [True, False])
def test_each_gets_what_it_gets_alone(
    tiny_model: Path,
    engine: TransformersEngine,
    pages: int | None,
    in_the_batch: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 6 pages some are taken off the cache and read again; a GPU's graphs take no chooser."""
    if not in_the_batch:
        monkeypatch.setattr(Batcher, "takes_choosers", False)
    queries = mixed(60, seed=11)
    assert sum(query.sampling is not None for query in queries) > 25

    async def test(backend: BatchedBackend) -> None:
        answers = await asyncio.gather(*(answer_of(backend, query) for query in queries))
        for query, got in zip(queries, answers, strict=True):
            wanted = engine.generate(query, lambda: None)
            assert same(got, wanted), query
            assert len(got.top) == (len(got.logprobs) if query.top_logprobs else 0)
            if got.top:
                assert [row.ids for row in got.top] == [row.ids for row in wanted.top]
                assert np.allclose(rows([*got.top]), rows([*wanted.top]), atol=1e-4)
        if in_the_batch:
            assert not backend._alive()._followed

    run(tiny_model, test, kv_bytes=None if pages is None else pages * PAGE * BYTES_PER_TOKEN)


def test_a_seed_draws_the_same_whoever_is_beside_it(tiny_model: Path) -> None:
    query = Query((4, 9, 1), 40, sampling=Sampling(1.4, 0, 0.95, 42))

    async def test(backend: BatchedBackend) -> None:
        alone = await answer_of(backend, query)
        for seed in range(4):
            others = [asyncio.create_task(answer_of(backend, one)) for one in mixed(30, seed)]
            again = await answer_of(backend, query)
            assert (again.token_ids, again.text) == (alone.token_ids, alone.text)
            await asyncio.gather(*others)
        other = await answer_of(backend, replace(query, sampling=Sampling(1.4, 0, 0.95, 43)))
        assert other.token_ids != alone.token_ids

    run(tiny_model, test)


def test_deltas_carry_the_rows_of_their_tokens(tiny_model: Path) -> None:
    async def deltas_of(backend: EmbeddedBackend, query: Query) -> list[Delta]:
        return [delta async for delta in backend.generate(query, forever())]

    async def check(backend: EmbeddedBackend) -> None:
        queries = [replace(query, streamed=True, top_logprobs=3) for query in mixed(30, seed=2)]
        streams = await asyncio.gather(*(deltas_of(backend, query) for query in queries))
        assert max(map(len, streams)) > 2
        for *pieces, last in streams:
            assert all(len(piece.top) == len(piece.token_ids) for piece in pieces)
            given = [row for piece in pieces for row in piece.top]
            assert last.answer is not None
            assert given == [*last.answer.top][: len(given)]

    async def alone() -> None:
        backend = EmbeddedBackend(
            lambda: TransformersEngine.load(str(tiny_model), threads=1),
            queue_capacity=64,
            clock=time.monotonic,
        )
        await backend.load()
        await check(backend)
        backend.close()

    asyncio.run(alone())
    run(tiny_model, check)  # type: ignore[arg-type]


def test_a_deadline_is_kept_in_the_queue_and_at_each_step(tiny_model: Path) -> None:
    """Of those that fill the batch one runs out of time in it, and one before it."""
    now = 0.0

    def clock() -> float:
        return now

    async def test(backend: BatchedBackend) -> None:
        nonlocal now
        # Their turn does not come while the batch is held.
        for _ in range(SEQUENCES - 1):
            await backend._turns.take(forever().claim)
        late = False
        while not late:  # the batch may be at its end before this thread has its turn
            now = 0.0
            in_the_batch = backend.generate(
                Query((4, 5, 6), 40, streamed=True, sampling=Sampling(1.0, 0, 1.0, 3)),
                Ticket(10.0, clock),
            )
            begun = await anext(in_the_batch)
            queued = asyncio.create_task(answer_of(backend, Query((4, 5), 3), Ticket(10.0, clock)))
            await asyncio.sleep(0)
            now = 20.0
            try:
                ended = [begun, *[delta async for delta in in_the_batch]][-1]
                assert ended.answer is not None
            except DeadlineError:
                late = True
            with pytest.raises(DeadlineError):
                await queued
        assert not backend._alive()._router.takers

    run(tiny_model, test)


def test_a_draft_is_not_read_where_tokens_are_drawn(
    tiny_model: Path, engine: TransformersEngine
) -> None:
    query = Query((4, 5, 1), 12, sampling=Sampling(1.0, 0, 1.0, 8))
    alone = engine.generate(query, lambda: None)
    rule = pb.Acceptance(rule=pb.ACCEPTANCE_RULE_TOKEN_V3, alpha=1.0)
    drafted = [
        replace(query, draft=pb.Draft(tokens=pb.TokenSequence(ids=ids), acceptance=acceptance))
        for ids in (alone.chosen_ids, [7, 7, 7])
        for acceptance in (None, rule)
    ]

    async def test(backend: BatchedBackend) -> None:
        for one in drafted:
            assert engine.generate(one, lambda: None) == alone
            together = await answer_of(backend, one)
            assert same(together, alone)
            assert together.lenient is None

    run(tiny_model, test)


@pytest.mark.parametrize("in_the_batch", [True, False])
def test_the_tokens_of_a_draft_have_their_rows_too(
    tiny_model: Path,
    engine: TransformersEngine,
    in_the_batch: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are let stand too: the rows are the model's."""
    if not in_the_batch:
        monkeypatch.setattr(Batcher, "takes_choosers", False)
    draw, queries = random.Random(12), []
    for query in some_queries(40, seed=12):
        ids = engine.generate(replace(query, stop_texts=()), lambda: None).chosen_ids
        if draw.random() < 0.5:
            ids[draw.randrange(len(ids))] = draw.randrange(4, 32)
        draft = pb.Draft(tokens=pb.TokenSequence(ids=ids))
        if draw.random() < 0.5:
            draft.acceptance.rule, draft.acceptance.alpha = pb.ACCEPTANCE_RULE_TOKEN_V3, 1.0
        queries.append(replace(query, draft=draft, top_logprobs=3))

    async def test(backend: BatchedBackend) -> None:
        lent = 0
        for query, got in zip(
            queries,
            await asyncio.gather(*(answer_of(backend, query) for query in queries)),
            strict=True,
        ):
            assert same(got, engine.generate(query, lambda: None)), query
            lent += got.lenient or 0
            assert len(got.top) == len(got.logprobs)
            if got.top:
                given = ScoreQuery(query.prompt_ids, tuple(got.chosen_ids))
                [scores] = engine.score([given], 3)
                assert np.allclose(rows([*got.top]), scores.top_logprobs, atol=1e-4)
        assert lent > 10

    run(tiny_model, test)


def test_the_models_numbers_are_those_of_scores(engine: TransformersEngine) -> None:
    query = Query((4, 5, 1), 12, sampling=Sampling(3.0, 4, 0.9, 8), top_logprobs=4)
    answer: Answer = engine.generate(query, lambda: None)
    [scores] = engine.score([ScoreQuery(query.prompt_ids, tuple(answer.chosen_ids))], 4)
    assert np.allclose(answer.logprobs, scores.response_logprobs, atol=1e-5)
    assert np.allclose(rows([*answer.top]), scores.top_logprobs, atol=1e-5)
