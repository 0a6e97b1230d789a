"""Responses to be scored, a few at a time, and one batch ahead; knows no model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator

from escalade.cloud.backends.query import ScoredBatch, ScoreQuery

# Tokens of a batch, padding included; a longer item is a batch of its own. A query waits for
# one batch, so it is no larger than it must be: with the bundled large model on one x86 core,
# 8 items of 24 tokens run at 450 items/s, 128 of them at 340.
_BATCH_TOKENS = 512


def batches_of(queries: Iterable[ScoreQuery]) -> Iterator[list[ScoreQuery]]:
    """The queries in order, in small batches; made only when asked for."""
    batch, longest = list[ScoreQuery](), 0
    for query in queries:
        longest = max(longest, len(query))
        if batch and longest * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch, longest = [], len(query)
        batch.append(query)
    if batch:
        yield batch


async def scored_ahead(
    queries: Iterable[ScoreQuery], score: Callable[[list[ScoreQuery]], Awaitable[ScoredBatch]]
) -> AsyncGenerator[ScoredBatch, None]:
    """The queries' scores, in order; while one batch is read the next is computed, and no other.

    Args:
        queries: see `Backend.score`.
        score: computes one batch.
    """
    batches = batches_of(queries)

    async def next_scores() -> ScoredBatch | None:
        # To make a batch takes its time, and the first all checks; the loop has other work.
        batch = await asyncio.to_thread(next, batches, None)
        return None if batch is None else await score(batch)

    def start() -> asyncio.Task[ScoredBatch | None]:
        task = asyncio.create_task(next_scores())
        # Nobody awaits it when the stream ends first; what it raised is nobody's news then.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    ahead = start()
    try:
        while (scored := await ahead) is not None:
            ahead = start()
            yield scored
    finally:
        ahead.cancel()
