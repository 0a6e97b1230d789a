"""A backend in front of a second server, on real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from completions import CompletionsServer, completions

from escalade.cloud.backends import Backend, openai_factory
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine


class Pair(NamedTuple):
    """A loaded backend and the server that it asks."""

    backend: Backend
    server: CompletionsServer


Paired = Callable[..., AbstractAsyncContextManager[Pair]]


@pytest.fixture
def paired(engine: TransformersEngine, tiny_model: Path) -> Paired:
    """`async with paired(in_text=..., at_once=..., offers=...) as (backend, server)`.

    A backend that a server of ours will load is not loaded here: `load=False`.
    """

    @asynccontextmanager
    async def start(
        *,
        in_text: bool = False,
        load: bool = True,
        queue_capacity: int = 4,
        clock: Callable[[], float] = time.monotonic,
        offers: dict[str, Any] | None = None,
        before: Callable[[CompletionsServer], None] = lambda server: None,
        **options: Any,
    ) -> AsyncIterator[Pair]:
        async with completions(engine, **(offers or {})) as server:
            before(server)
            make = openai_factory(
                server.url,
                **{
                    "tokenizer": None if in_text else str(tiny_model),
                    "parameters": 7,
                    **options,
                },
            )
            backend = make(queue_capacity=queue_capacity, clock=clock)
            try:
                if load:
                    await backend.load()
                yield Pair(backend, server)
            finally:
                backend.close()

    return start
