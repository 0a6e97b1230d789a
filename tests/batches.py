"""A batched backend of the tiny model, and queries for it: what its tests share."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Answer, Query
from escalade.cloud.backends.ticket import Ticket

# Two KV heads of 8, keys and values in float32, in two layers.
BYTES_PER_TOKEN = 2 * 2 * 2 * 8 * 4
PAGE = 32


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic)


@asynccontextmanager
async def loaded(folder: Path, kv_bytes: int | None = None) -> AsyncIterator[BatchedBackend]:
    backend = BatchedBackend(
        lambda: TransformersEngine.load(str(folder), threads=1),
        queue_capacity=64,
        clock=time.monotonic,
        kv_bytes=kv_bytes,
    )
    try:
        await backend.load()
        yield backend
    finally:
        backend.close()


def run(
    folder: Path,
    test: Callable[[BatchedBackend], Awaitable[None]],
    *,
    kv_bytes: int | None = None,
) -> None:
    async def main() -> None:
        async with loaded(folder, kv_bytes) as backend, asyncio.timeout(60):
            await test(backend)

    asyncio.run(main())


async def answer_of(backend: BatchedBackend, query: Query, ticket: Ticket | None = None) -> Answer:
    *_, last = [delta async for delta in backend.generate(query, ticket or forever())]
    assert last.answer is not None
    return last.answer


def some_queries(count: int, seed: int = 1) -> list[Query]:
    draw = random.Random(seed)
    return [
        Query(
            tuple(draw.choices(range(4, 32), k=draw.randint(1, 40))),
            draw.randint(1, 47),
            stop_texts=(f"w{draw.randint(0, 27):02d}",) if draw.random() < 0.3 else (),
            streamed=draw.random() < 0.5,
        )
        for _ in range(count)
    ]


def same(got: Answer, wanted: Answer) -> bool:
    """Whether two answers say the same; log-probabilities may differ by rounding."""
    return (
        got.chosen_ids == wanted.chosen_ids
        and got.text == wanted.text
        and got.stop_reason == wanted.stop_reason
        and got.generated_tokens >= len(wanted.token_ids)
        and np.allclose(got.logprobs, wanted.logprobs, atol=1e-4)
    )
