"""A server that is watched, and what its metrics say."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from escalade.cloud.backends import Answer, Backend, BackendInfo, Delta, Query, Ticket
from escalade.cloud.watching import WatchOptions
from escalade.v1 import cascade_pb2 as pb

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Said(Backend):
    """Gives what it is told to give."""

    info = BackendInfo(
        model=pb.ModelIdentity(name="said", revision="r1", tokenizer_fingerprint="t1"),
        engine="none",
        parameter_count=1,
        vocabulary_size=99,
        longest_token_bytes=1,
        context_length=99,
        end_of_sequence_ids=(2,),
        max_new_tokens=50,
        queue_capacity=64,
        capabilities=(pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM),
        tiers=(pb.TierDescription(tier="here"), pb.TierDescription(tier="above")),
    )

    def __init__(self, *, reports: Iterable[pb.TierReport] = (), degraded: bool = False) -> None:
        self.reports, self.degraded = tuple(reports), degraded
        self.error: Exception | None = None

    async def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def health(self) -> bool:
        return True

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        await asyncio.sleep(0)  # so that others may follow
        if self.error is not None:
            raise self.error
        yield Delta(
            answer=Answer(
                token_ids=(5, 6, 7),
                logprobs=(),
                margins=(),
                end_id=None,
                text="a b c",
                stop_reason=pb.STOP_REASON_MAX_TOKENS,
                prompt_tokens=4,
                generated_tokens=3,
                queue_s=0.25,
                compute_s=0.5,
                reports=self.reports,
                degraded=self.degraded,
            )
        )


def read(url: str, context: ssl.SSLContext | None = None) -> str:
    with urllib.request.urlopen(url, timeout=30, context=context) as page:  # noqa: S310
        return str(page.read().decode())


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def watched(serving: Any) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """`async with watched(engine) as (running, metrics)`: `await metrics()` reads the page."""

    @asynccontextmanager
    async def start(*given: Any, **options: Any) -> AsyncIterator[Any]:
        said: list[str] = []
        watch = WatchOptions(metrics="127.0.0.1:0", say=said.append)
        async with serving(*given, watch=watch, **options) as running:
            [line] = said
            url = line.removeprefix("metrics on ")

            async def metrics() -> str:
                return await asyncio.to_thread(read, url)

            yield running, metrics

    return start


@pytest.fixture
def said() -> type[Said]:
    return Said


@pytest.fixture
def samples_of() -> Callable[[str], Samples]:
    return samples


@pytest.fixture
def read_page() -> Callable[..., str]:
    return read
