"""Replicas of Ray Serve behind `Backend`; knows no gRPC, no torch.

Ray starts, scales and replaces the processes; clients, places, deadlines and turns stay here. What
a replica was computing when it ended another computes again, and a reader of it notices nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

import msgspec
import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.handle import DeploymentHandle

from escalade.cloud.backends.backend import Backend, BackendInfo
from escalade.cloud.backends.batches import batches_of
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import (
    Answer,
    Delta,
    Query,
    ScoredBatch,
    ScoreQuery,
    Scores,
    Verdict,
)
from escalade.cloud.backends.replicas.replica import Replica
from escalade.cloud.backends.replicas.resumed import Given
from escalade.cloud.backends.replicas.scaling import Scaling
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.backends.worker import FairTurn
from escalade.cloud.errors import EngineDeadError, RequestError, StartError
from escalade.v1.address import parse_address

# Replicas that may end under one query before it is given up; a rolling restart takes one.
_TRIES = 4
_LOOK_S, _DIAL_S = 1.0, 5.0
# Queries in one replica at most: those that one batch takes, and as many ready to join.
_AT_ONCE = 128
_DEATHS_UNTIL_DEAD = 3

T = TypeVar("T")


class RayBackend(Backend):
    """Answers with processes that Ray Serve keeps.

    Args:
        model: a folder that every node has, or `hub:NAME`.
        cluster: see `ray_factory`.
        scaling: see `Scaling`.
        device: see `ray_factory`.
        dtype: see `ray_factory`.
        queue_capacity: queries that may wait beside those that are computed, at least 1.
        clock: seconds, monotonic.
        say: told in a line what was started.
    """

    def __init__(
        self,
        model: str,
        *,
        cluster: str | None,
        scaling: Scaling,
        device: str,
        dtype: str,
        queue_capacity: int,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._cluster, self._scaling = cluster, scaling
        self._given = model, scaling.cores, device, dtype
        self._capacity, self._clock, self._say = queue_capacity, clock, say
        at_once = scaling.most * _AT_ONCE
        self._queries = Places(queue_capacity + at_once - 1, "requests")
        self._streams = Places(queue_capacity, "streams of scores")
        self._turns = FairTurn(at_once)
        self._info: BackendInfo | None = None
        self._deaths = 0

    async def load(self) -> None:
        """See `Backend`."""
        try:
            self._handle = await asyncio.to_thread(self._start)
            info = cast(BackendInfo, await self._handle.info.remote())
        except (RayError, RuntimeError, OSError, ValueError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise StartError(f"ray {self._cluster or 'local'}: {said[-1]}") from error
        self._info = replace(
            info, engine=f"{info.engine}, ray {ray.__version__}", queue_capacity=self._capacity
        )
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        self._say(
            f"ray: {self._scaling.least} to {self._scaling.most} replicas of"
            f" {self._scaling.cores} cores on {nodes} nodes"
        )

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
        """See `Backend`; a cluster that was started here ends."""
        if ray.is_initialized():
            serve.shutdown() if self._cluster is None else serve.delete("escalade")
            ray.shutdown()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`."""
        if self._info is None:
            raise RuntimeError("no replica is ready yet; await load() first")
        return self._info

    def health(self) -> bool:
        """Whether the last few queries did not all find their replicas dead."""
        return self._deaths < _DEATHS_UNTIL_DEAD

    def check_room(self, ticket: Ticket) -> None:
        """See `Backend`."""
        self._queries.check(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        with self._queries.take(ticket):
            asked_s = self._clock()
            async with self._turns.hold(ticket.claim):
                started_s = self._clock()
                given = Given()
                async for delta in self._begun_again(query, given, ticket):
                    answer = delta.answer
                    if answer is not None:
                        waited_s = started_s - asked_s
                        answer = _later(answer, waited_s)
                    yield delta._replace(answer=answer)
                self._queries.note_free_after(
                    (self._clock() - started_s) / (self._scaling.least * _AT_ONCE)
                )

    async def _begun_again(
        self, query: Query, given: Given, ticket: Ticket
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of one replica, or of several, each of which ended but the last."""
        for left in reversed(range(_TRIES)):
            given.again()
            response = self._handle.options(stream=True).generate.remote(query)
            next_delta = partial(anext, response, None)
            try:
                while (delta := await _while(ticket, next_delta)) is not None:
                    if isinstance(delta, RequestError):
                        raise delta
                    if (new := given.new_in(delta)) is not None:
                        yield new
                self._deaths = 0
                return
            except RayError as error:
                self._ended(error, left)
            finally:
                response.cancel()

    def _ended(self, error: RayError, left: int) -> None:
        """Return where another replica is to be asked.

        Raises:
            EngineDeadError: this was the last try, or a fault that another would have too.
        """
        if isinstance(error, RayTaskError) or not left:
            self._deaths += 1
            raise EngineDeadError(f"engine: {type(error).__name__}") from error

    async def score(
        self, queries: Iterable[ScoreQuery], top_k: int, ticket: Ticket
    ) -> AsyncGenerator[ScoredBatch, None]:
        """See `Backend`."""
        batches = batches_of(queries)
        with self._streams.take(ticket):
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                started_s = self._clock()
                async with self._turns.hold(ticket.claim):
                    turn_s = self._clock()
                    ask = partial(self._handle.score.remote, batch, top_k)
                    scores = await self._asked(ask, ticket)
                yield ScoredBatch(
                    cast("list[Scores]", scores), turn_s - started_s, self._clock() - turn_s
                )

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Backend`."""
        with self._queries.take(ticket):
            async with self._turns.hold(ticket.claim):
                return cast(
                    Verdict, await self._asked(lambda: self._handle.verify.remote(query), ticket)
                )

    async def _asked(self, ask: Callable[[], Awaitable[T | RequestError]], ticket: Ticket) -> T:
        """What a replica says; another's word, where it ended."""
        for left in reversed(range(_TRIES)):
            try:
                said = await _while(ticket, ask)
            except RayError as error:
                self._ended(error, left)
                continue
            if isinstance(said, RequestError):
                raise said
            self._deaths = 0
            return said
        raise AssertionError("the last try returns or raises")


def _later(answer: Answer, waited_s: float) -> Answer:
    """The answer, with the time that its query waited here before its turn."""
    return msgspec.structs.replace(answer, queue_s=answer.queue_s + waited_s)


async def _while(ticket: Ticket, make: Callable[[], Awaitable[T]]) -> T:
    """Await something while the ticket lasts; it may be extended meanwhile.

    Raises:
        DeadlineError, DrainingError: see `Ticket.check`.
    """
    pending = asyncio.ensure_future(make())
    try:
        while True:
            ticket.check()
            done, _ = await asyncio.wait({pending}, timeout=min(ticket.remaining_s(), _LOOK_S))
            if done:
                return pending.result()
    finally:
        pending.cancel()
