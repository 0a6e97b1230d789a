"""A cascade as a backend: device -> gateway -> cloud is built here; knows no gRPC.

The one place where edge and cloud meet: a cascade of the edge, behind the service of the cloud.
Each query climbs in a thread of its own; a model takes one query at a time, and clients in turns;
calls of tiers elsewhere run side by side.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from escalade.cli.serving import CLAIM, GatewayCascade, Swapping, deferring, reports_of
from escalade.cloud.backends import (
    Answer,
    Backend,
    BackendInfo,
    Clock,
    Delta,
    Gauge,
    Places,
    Query,
    Ticket,
    queue_length,
)
from escalade.cloud.errors import (
    EngineDeadError,
    LoopError,
    PromptTooLongError,
    StartError,
)
from escalade.edge import OpenOptions
from escalade.edge import Query as EdgeQuery
from escalade.edge import Sampling as EdgeSampling
from escalade.edge.errors import CloudError, EdgeError, PromptError
from escalade.edge.run import Run
from escalade.edge.tiers import SharedTier
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason

if TYPE_CHECKING:
    from escalade.cli.learning import Gathering

_STOPS = {
    "end": pb.STOP_REASON_END_OF_SEQUENCE,
    "stop": pb.STOP_REASON_STOP_SEQUENCE,
    "length": pb.STOP_REASON_MAX_TOKENS,
}


class GatewayBackend(Backend):
    """Serves a cascade's file.

    Args:
        path: the `cascade.toml`; its first tier is on this machine.
        options: how it is opened.
        queue_capacity: queries that may be under way beside the first, at least 1.
        clock: seconds, monotonic.
        gathering: who learns from what it answers; None: nobody.
    """

    def __init__(
        self,
        path: Path,
        options: OpenOptions,
        *,
        queue_capacity: int,
        clock: Clock,
        gathering: Gathering | None = None,
    ) -> None:
        self._path, self._options = path, options
        self._capacity, self._clock = queue_capacity, clock
        self._id = uuid.uuid4().hex
        self._places = Places(queue_capacity, "requests")
        self._pool = ThreadPoolExecutor(self._places.most, thread_name_prefix="query")
        self._swapping: Swapping | None = None
        self._gathering = gathering
        self._ends = threading.Event()

    async def load(self) -> None:
        """See `Backend`."""
        loop = asyncio.get_running_loop()
        opens = partial(Swapping, self._path, self._options, queue_capacity=self._capacity)
        try:
            self._swapping = await loop.run_in_executor(self._pool, opens)
        except EdgeError as error:
            raise StartError(str(error)) from error
        watch = partial(self._swapping.watch, self._ends.wait)
        if (gathering := self._gathering) is not None:
            watch = partial(watch, published=gathering.published, serves=gathering.serves)
        threading.Thread(target=watch, name="swapping", daemon=True).start()

    def close(self) -> None:
        """See `Backend`."""
        self._ends.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._gathering is not None:
            self._gathering.close()
        if self._swapping is not None:
            self._swapping.close()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`: of the version that answers the next query."""
        return self._versions.current.info

    @property
    def _versions(self) -> Swapping:
        assert self._swapping is not None  # noqa: S101 - it is loaded
        return self._swapping

    def health(self) -> bool:
        """See `Backend`: without its cloud it still answers."""
        return True

    def gauges(self) -> Iterable[Gauge]:
        """See `Backend`."""
        if self._swapping is None:
            return ()
        learning = () if self._gathering is None else self._gathering.gauges()
        tiers = self._swapping.current.cascade.tiers
        waiting = sum(tier.waiting for tier in tiers if isinstance(tier, SharedTier))
        return (queue_length(waiting), *self._swapping.gauges(), *learning)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        """See `Backend`; one delta, for an answer may be taken back for a higher tier's."""
        if self._id in query.via:
            raise LoopError(f"the query came through this gateway already ({self._id[:12]})")
        began_s = self._clock()
        with self._places.take(ticket):
            loop = asyncio.get_running_loop()
            # Of the thread's context too: the span of this request is the tiers' parent.
            answer_in = partial(copy_context().run, self._answer, query, ticket)
            answer = await loop.run_in_executor(self._pool, answer_in)
        # As many end while one lasts as there are places.
        self._places.note_free_after((self._clock() - began_s) / (self._capacity + 1))
        yield Delta(answer=answer)

    def _answer(self, query: Query, ticket: Ticket) -> Answer:
        """Let a query climb, in a thread; what is raised travels."""
        with self._versions.using() as served:
            return self._climb(served, query, ticket)

    def _climb(self, served: GatewayCascade, query: Query, ticket: Ticket) -> Answer:
        CLAIM.set(ticket.claim)
        cascade = served.cascade
        if self._gathering is not None and self._gathering.alarmed:
            cascade = deferring(cascade)
        began_s = self._clock()
        remaining_s = ticket.remaining_s()
        asked = self._edge_query(served.info, query, remaining_s, batch=ticket.claim.batch)
        try:
            run = Run(
                cascade,
                asked,
                cancelled=lambda: ticket.should_stop() is not None,
            )
            answer = run.finish()
        except PromptError as error:
            raise PromptTooLongError("prompt", str(error)) from error
        except EdgeError as error:
            raise EngineDeadError(f"gateway: {error}") from error
        loop = name_of_reason(pb.ERROR_REASON_LOOP)
        if any(isinstance(one, CloudError) and one.reason == loop for one in run.failed.values()):
            raise LoopError("the tiers above this gateway lead back to it")
        ticket.check()
        if answer is None:
            raise EngineDeadError("gateway: a model was asked by somebody else meanwhile")
        if self._gathering is not None:
            self._gathering.note(answer, asked, self._versions.using)
        said = run.said[answer.answered_by]
        assert said is not None  # noqa: S101 - its answer stands
        source = said.source
        return Answer(
            token_ids=source.ids,
            logprobs=source.logprobs,
            margins=(),
            end_id=None,
            text=answer.text,
            stop_reason=_STOPS[said.stop],
            prompt_tokens=sum(one.prompt_tokens for one in said.answer.members),
            generated_tokens=sum(one.generated_tokens for one in said.answer.members),
            compute_s=self._clock() - began_s,
            reports=reports_of(cascade, run),
            degraded=answer.outcome == "degraded",
            model=pb.ModelIdentity(
                name=source.name,
                revision=source.revision,
                tokenizer_fingerprint=source.tokenizer_fingerprint,
            ),
        )

    def _edge_query(
        self, info: BackendInfo, query: Query, remaining_s: float, *, batch: bool
    ) -> EdgeQuery:
        drawn = query.sampling
        limited = query.max_new_tokens < info.max_new_tokens
        return EdgeQuery(
            text=query.prompt_text,
            ids=query.prompt_ids,
            tokenizer_fingerprint=info.model.tokenizer_fingerprint,
            stop=query.stop_texts,
            sampling=None if drawn is None else EdgeSampling(**drawn._asdict()),
            # What nobody asked for is each tier's own.
            max_new_tokens=query.max_new_tokens if limited else None,
            deadline_s=None if remaining_s == float("inf") else max(remaining_s, 1e-3),
            logprobs=query.logprobs,
            via=(*query.via, self._id),
            batch=batch,
        )
