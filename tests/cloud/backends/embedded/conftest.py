"""Answers of a backend in an event loop of its own."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import pytest

from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Answer, Query
from escalade.cloud.backends.ticket import Ticket

AnswersOf = Callable[[TransformersEngine, Sequence[Query]], tuple[list[Answer], list[str]]]


def answers_together(
    engine: TransformersEngine, queries: Sequence[Query]
) -> tuple[list[Answer], list[str]]:
    """The answers to all at once, and what the backend said as it started."""
    said: list[str] = []

    async def answer_of(backend: BatchedBackend, query: Query) -> Answer:
        ticket = Ticket(math.inf, time.monotonic)
        *_, last = [delta async for delta in backend.generate(query, ticket)]
        assert last.answer is not None
        return last.answer

    async def main() -> list[Answer]:
        backend = BatchedBackend(
            lambda: engine, queue_capacity=64, clock=time.monotonic, say=said.append
        )
        try:
            await backend.load()
            return await asyncio.gather(*(answer_of(backend, query) for query in queries))
        finally:
            backend.close()

    return asyncio.run(main()), said


@pytest.fixture
def together() -> AnswersOf:
    return answers_together
