"""Replicas of Ray Serve; knows no queue, no client, no torch.

Ray starts, scales and replaces the processes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from escalade.cloud.backends.backend import BackendInfo, Gauge
from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.query import Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.replicas.replica import Replica
from escalade.cloud.backends.replicas.replicas import ReplicaEndedError, Replicas
from escalade.cloud.backends.replicas.scaling import Scaling
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError, RequestError, StartError
from escalade.v1.address import parse_address

_DIAL_S = 5.0
# Queries in one replica at most: those that one batch takes, and as many ready to join.
_AT_ONCE = 128


class RayReplicas(Replicas):
    """Processes that Ray Serve keeps.

    Args:
        model: a folder that every node has, or `hub:NAME`.
        cluster: see `ray_factory`.
        scaling: see `Scaling`.
        device: see `ray_factory`.
        dtype: see `ray_factory`.
        say: told in a line what was started.
    """

    #: A rolling restart takes one, and load may take several.
    tries = 4

    def __init__(
        self,
        model: str,
        *,
        cluster: str | None,
        scaling: Scaling,
        device: str,
        dtype: str,
        say: Callable[[str], None],
    ) -> None:
        self._cluster, self._scaling, self._say = cluster, scaling, say
        self._given = model, scaling.cores, device, dtype
        self.at_once = scaling.most * _AT_ONCE

    async def start(self) -> BackendInfo:
        """See `Replicas`."""
        try:
            self._handle = await asyncio.to_thread(self._start)
            info = cast(BackendInfo, await self._handle.info.remote())
        # Ray raises what it likes, and of a node that comes too late no more than an Exception.
        except Exception as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise StartError(f"ray {self._cluster or 'local'}: {said[-1]}") from error
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        self._say(
            f"ray: {self._scaling.least} to {self._scaling.most} replicas of"
            f" {self._scaling.cores} cores on {nodes} nodes"
        )
        return replace(info, engine=f"{info.engine}, ray {ray.__version__}")

    def _start(self) -> DeploymentHandle[Replica]:
        """Start or join the cluster, and the replicas; takes until one is ready."""
        scaling = self._scaling
        if self._cluster not in {None, "auto"}:
            # Ray itself tries for minutes, and then ends the process.
            to = parse_address(str(self._cluster))
            socket.create_connection((to.host, to.port), _DIAL_S).close()
        # What becomes of a replica is health's to say, in a line; Ray says it in hundreds.
        logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
        ray.init(
            address=self._cluster,
            include_dashboard=False if self._cluster is None else None,
            log_to_driver=False,
            configure_logging=False,
        )
        serve.start(proxy_location="Disabled")
        deployment = serve.deployment(
            max_ongoing_requests=_AT_ONCE,
            ray_actor_options={"num_cpus": scaling.cores, "num_gpus": scaling.gpus},
            autoscaling_config={
                "min_replicas": scaling.least,
                "max_replicas": scaling.most,
                "target_ongoing_requests": scaling.queries,
            },
        )
        return serve.run(
            deployment(Replica).bind(*self._given),
            name="escalade",
            route_prefix=None,
        )

    def close(self) -> None:
        """See `Replicas`; a cluster that was started here ends."""
        if ray.is_initialized():
            serve.shutdown() if self._cluster is None else serve.delete("escalade")
            ray.shutdown()

    def health(self) -> bool:
        """Ray replaces what dies; that none answers is seen by the queries."""
        return True

    def gauges(self) -> Iterable[Gauge]:
        """See `Replicas`."""
        return ()

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Replicas`."""
        handle = self._handle.options(stream=True)
        response = cast("DeploymentResponseGenerator[object]", handle.generate.remote(query))
        try:
            while True:
                async with _asked(ticket):
                    delta = await anext(response, None)
                if delta is None:
                    return
                if isinstance(delta, RequestError):
                    raise delta
                yield cast(Delta, delta)
        finally:
            response.cancel()

    async def score(
        self, batch: Sequence[ScoreQuery], top_k: int, ticket: Ticket
    ) -> Sequence[Scores]:
        """See `Replicas`."""
        async with _asked(ticket):
            said = await self._handle.score.remote(batch, top_k)
        if isinstance(said, RequestError):
            raise said
        return cast("Sequence[Scores]", said)

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Replicas`."""
        async with _asked(ticket):
            said = await self._handle.verify.remote(query)
        if isinstance(said, RequestError):
            raise said
        return cast(Verdict, said)


@asynccontextmanager
async def _asked(ticket: Ticket) -> AsyncIterator[None]:
    """Say in our words that a replica ended, or failed as another would too."""
    try:
        async with within(ticket):
            yield
    except RayTaskError as error:
        raise EngineDeadError(f"engine: {type(error).__name__}") from error
    except RayError as error:
        raise ReplicaEndedError(type(error).__name__) from error
