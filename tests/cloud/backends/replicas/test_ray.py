"""Replicas on a Ray cluster of two nodes, one of which is killed under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from escalade.cloud.backends import Query, Scaling, Ticket, ray_factory, transformers_factory
from escalade.cloud.errors import StartError

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

PROMPTS = [f"g2p: {word}" for word in ("cat", "dog", "banana", "zebra", "apple", "cascade")]
TOKENS, LOAD = 24, 40

pytestmark = [
    pytest.mark.slow,
    # Ray's own: it opens files and starts processes without closing them.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray"),
]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster
    cluster.shutdown()


def ticket() -> Ticket:
    return Ticket(time.monotonic() + 120, time.monotonic)


async def said(backend: object, prompt: str, *, streamed: bool) -> tuple[str, list[int]]:
    query = Query((), TOKENS, prompt_text=prompt, streamed=streamed)
    deltas = [one async for one in backend.generate(query, ticket())]  # type: ignore[attr-defined]
    answer = deltas[-1].answer
    given = [token for one in deltas for token in one.token_ids]
    assert given == [*answer.token_ids][: len(given)]
    return answer.text, [*answer.token_ids]


async def alone(folder: Path) -> dict[str, tuple[str, list[int]]]:
    backend = transformers_factory(str(folder), threads=1)(queue_capacity=8, clock=time.monotonic)
    await backend.load()
    found = {prompt: await said(backend, prompt, streamed=False) for prompt in PROMPTS}
    backend.close()
    return found


def test_a_node_that_is_killed_costs_no_query(cluster: Cluster, tiny_model_dir: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]

    async def main() -> None:
        expected = await alone(tiny_model_dir)
        make = ray_factory(
            str(tiny_model_dir), cluster=cluster.address, scaling=Scaling(least=2, most=2)
        )
        backend = make(queue_capacity=LOAD, clock=time.monotonic)
        await backend.load()
        try:
            assert {prompt: await said(backend, prompt, streamed=True) for prompt in PROMPTS} == (
                expected
            )
            under_way = [
                asyncio.create_task(said(backend, prompt, streamed=k % 2 == 0))
                for k in range(LOAD)
                for prompt in PROMPTS[:1]
            ]
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(cluster.remove_node, nodes[1])
            assert {one[0] for one in await asyncio.gather(*under_way)} == (
                {expected[PROMPTS[0]][0]}
            )
            assert await said(backend, PROMPTS[1], streamed=True) == expected[PROMPTS[1]]
            assert backend.health()
        finally:
            backend.close()

    asyncio.run(main())


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    backend = ray_factory("model", cluster="127.0.0.1:1")(queue_capacity=1, clock=time.monotonic)
    with pytest.raises(StartError, match="^ray 127.0.0.1:1: .*refused"):
        asyncio.run(backend.load())
    backend.close()


def test_a_cluster_that_does_not_start_is_one_line(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def too_late(**_: object) -> None:
        # What ray/_private/node.py raises, after half a minute.
        raise Exception("The current node timed out during startup. This could happen")

    monkeypatch.setattr(ray, "init", too_late)
    backend = ray_factory(str(tiny_model_dir))(queue_capacity=1, clock=time.monotonic)
    with pytest.raises(StartError, match="^ray local: The current node timed out during startup"):
        asyncio.run(backend.load())
    backend.close()


def test_replicas_that_cannot_be_are_refused() -> None:
    with pytest.raises(StartError, match="LEAST:MOST"):
        Scaling(least=3, most=2)
