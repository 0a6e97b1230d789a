"""Every backend that there is, with the same tiny model behind it, and what it may be asked."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from completions import completions

from escalade.cli.gateway import GatewayBackend
from escalade.cloud.backends import (
    Backend,
    BackendFactory,
    openai_factory,
    process_factory,
    transformers_factory,
)
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.edge import OpenOptions

#: Places that each has, for one query and those that wait.
CAPACITY = 2

Loaded = Callable[[], AbstractAsyncContextManager[Backend]]


@asynccontextmanager
async def _ready(make: BackendFactory) -> AsyncIterator[Backend]:
    backend = make(queue_capacity=CAPACITY, clock=time.monotonic)
    try:
        await backend.load()
        yield backend
    finally:
        backend.close()


@pytest.fixture(scope="session")
def reference(tiny_model_dir: Path) -> TransformersEngine:
    """The model itself, asked alone."""
    return TransformersEngine.load(str(tiny_model_dir), threads=1)


@asynccontextmanager
async def _in_front_of_another(
    engine: TransformersEngine, tokenizer: str | None
) -> AsyncIterator[Backend]:
    async with completions(engine) as server:
        make = openai_factory(server.url, tokenizer=tokenizer, parameters=1, at_once=1)
        async with _ready(make) as backend:
            yield backend


@pytest.fixture(
    params=[
        "deterministic",
        "batched",
        pytest.param("process", marks=pytest.mark.slow),
        pytest.param("process-deterministic", marks=pytest.mark.slow),
        "openai",
        "openai-text",
        "gateway",
    ]
)
def loaded(
    request: pytest.FixtureRequest,
    tiny_model_dir: Path,
    tmp_path: Path,
    reference: TransformersEngine,
) -> Loaded:
    """`async with loaded() as backend`."""
    model = str(tiny_model_dir)
    match request.param:
        case "deterministic":
            return partial(_ready, transformers_factory(model, threads=1, deterministic=True))
        case "batched":
            return partial(_ready, transformers_factory(model, threads=1))
        case "process":
            return partial(_ready, process_factory(model, threads=1))
        case "process-deterministic":
            return partial(_ready, process_factory(model, threads=1, deterministic=True))
        case "openai":
            return partial(_in_front_of_another, reference, model)
        case "openai-text":
            return partial(_in_front_of_another, reference, None)
    artifact = request.getfixturevalue("float_artifact")
    path = tmp_path / "cascade.toml"
    path.write_text(f'[[tiers]]\nname = "only"\nmembers = [{json.dumps(str(artifact))}]\n')
    return partial(_ready, partial(GatewayBackend, path, OpenOptions()))
