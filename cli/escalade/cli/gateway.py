"""A cascade as a backend: device -> gateway -> cloud is built here; knows no gRPC.

The one place where edge and cloud meet: a cascade of the edge, behind the service of the cloud.
Each query climbs in a thread of its own; a model takes one query at a time, and clients in turns;
calls of tiers elsewhere run side by side.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path

from escalade.cli.gateway_reports import describe, reports_of
from escalade.cli.gateway_turns import FairLock
from escalade.cloud.backends import (
    NOBODY,
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
from escalade.edge.cascade import Cascade
from escalade.edge.errors import CloudError, EdgeError, PromptError
from escalade.edge.opening import open_cascade
from escalade.edge.run import Run
from escalade.edge.tiers import Call, Member, Prompts, Saying, Tier
from escalade.edge.trace import MemberInfo, Place
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason

# Whose query it is that this thread answers.
_CLAIM = ContextVar("_CLAIM", default=NOBODY)
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
    """

    def __init__(
        self, path: Path, options: OpenOptions, *, queue_capacity: int, clock: Clock
    ) -> None:
        self._path, self._options = path, options
        self._capacity, self._clock = queue_capacity, clock
        self._id = uuid.uuid4().hex
        self._pool = ThreadPoolExecutor(queue_capacity + 1, thread_name_prefix="query")
        self._places = Places(queue_capacity, "requests")
        self._cascade: Cascade | None = None
        self._info: BackendInfo | None = None

    async def load(self) -> None:
        """See `Backend`."""
        loop = asyncio.get_running_loop()
        try:
            self._cascade, self._info = await loop.run_in_executor(self._pool, self._open)
        except EdgeError as error:
            raise StartError(str(error)) from error

    def close(self) -> None:
        """See `Backend`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._cascade is not None:
            self._cascade.close()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`."""
        assert self._info is not None  # noqa: S101 - it is loaded
        return self._info

    def health(self) -> bool:
        """See `Backend`: without its cloud it still answers."""
        return True

    def gauges(self) -> Iterable[Gauge]:
        """See `Backend`."""
        tiers = () if self._cascade is None else self._cascade.tiers
        waiting = sum(tier.waiting for tier in tiers if isinstance(tier, _Shared))
        return (queue_length(waiting),)

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

    def _open(self) -> tuple[Cascade, BackendInfo]:
        """Open the cascade, in a thread.

        Raises:
            EdgeError: see `open_cascade`.
            StartError: it cannot be served.
        """
        opened = open_cascade(self._path, self._options)
        members = [one for tier in opened.tiers for one in tier.opened]
        if not opened.tiers[0].opened:
            raise StartError(f"{self._path}: the first tier of a gateway must be on this machine")
        for gate in opened.gates:
            if gate is not None and gate.early != "off":
                raise StartError(
                    f"{self._path}: early must be 'off' behind a gateway, whose models take other"
                    f" queries meanwhile; got {gate.early!r}"
                )
        if opened.outbox is not None:
            raise StartError(
                f"{self._path}: on_outage must be 'degrade' behind a gateway: who asked it is the"
                " one to wait; got 'queue'"
            )
        # Where one classifies, queries come as text alone, which each tier reads for itself.
        in_text = any(member.artifact.classifies for member in members)
        first = members[0]
        for member in members:
            if member.fingerprint != first.fingerprint and not in_text:
                raise StartError(
                    f"{self._path}: {first.info.name} and {member.info.name} have different"
                    " tokenizers; a gateway is sent the ids of one"
                )
        models = [member.artifact.manifest.model for member in members]
        window = min(model.window for model in models)
        digests = "".join(str(member.info.program_sha256) for member in members)
        info = BackendInfo(
            model=pb.ModelIdentity(
                name=self._path.stem,
                revision=hashlib.sha256(digests.encode()).hexdigest(),
                tokenizer_fingerprint="" if in_text else first.fingerprint,
            ),
            engine="escalade gateway",
            parameter_count=sum(model.parameters for model in models),
            vocabulary_size=0 if in_text else min(model.vocabulary_size for model in models),
            context_length=window,
            end_of_sequence_ids=() if in_text else tuple(models[0].end_of_sequence_ids),
            # A label is one; tiers elsewhere may say more.
            max_new_tokens=(
                window - 1 if in_text else max(model.max_new_tokens for model in models)
            ),
            # They share a tokenizer.
            longest_token_bytes=0 if in_text else first.artifact.longest_token_bytes,
            queue_capacity=self._capacity,
            capabilities=(
                pb.CAPABILITY_GENERATE,
                pb.CAPABILITY_GENERATE_STREAM,
                pb.CAPABILITY_SAMPLING,
            ),
            tiers=describe(opened),
        )
        return replace(opened, tiers=[_Shared(tier) for tier in opened.tiers]), info

    def _answer(self, query: Query, ticket: Ticket) -> Answer:
        """Let a query climb, in a thread; what is raised travels."""
        assert self._cascade is not None  # noqa: S101 - it is loaded
        _CLAIM.set(ticket.claim)
        began_s = self._clock()
        remaining_s = ticket.remaining_s()
        try:
            run = Run(
                self._cascade,
                self._edge_query(query, remaining_s, batch=ticket.claim.batch),
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
            reports=reports_of(self._cascade, run),
            degraded=answer.outcome == "degraded",
            model=pb.ModelIdentity(
                name=source.name,
                revision=source.revision,
                tokenizer_fingerprint=source.tokenizer_fingerprint,
            ),
        )

    def _edge_query(self, query: Query, remaining_s: float, *, batch: bool) -> EdgeQuery:
        drawn = query.sampling
        limited = query.max_new_tokens < self.info.max_new_tokens
        return EdgeQuery(
            text=query.prompt_text,
            ids=query.prompt_ids,
            tokenizer_fingerprint=self.info.model.tokenizer_fingerprint,
            stop=query.stop_texts,
            sampling=None if drawn is None else EdgeSampling(**drawn._asdict()),
            # What nobody asked for is each tier's own.
            max_new_tokens=query.max_new_tokens if limited else None,
            deadline_s=None if remaining_s == float("inf") else max(remaining_s, 1e-3),
            logprobs=query.logprobs,
            via=(*query.via, self._id),
            batch=batch,
        )


class _Shared:
    """A tier that several threads ask; its models take one query at a time."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._model = FairLock() if tier.opened else None
        # A text takes several hundred times its size while it is tokenized: one at a time.
        self._reading = FairLock()

    @property
    def name(self) -> str:
        return self._tier.name

    @property
    def place(self) -> Place:
        return self._tier.place

    @property
    def side_by_side(self) -> bool:
        return self._tier.side_by_side

    @property
    def deadline_s(self) -> float:
        return self._tier.deadline_s

    @property
    def opened(self) -> Sequence[Member]:
        return self._tier.opened

    @property
    def waiting(self) -> int:
        """Queries that wait for its models."""
        return 0 if self._model is None else len(self._model)

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        return self._tier.members(hold=hold)

    def check(self, prompts: Prompts) -> None:
        self._reading.acquire(_CLAIM.get())
        try:
            self._tier.check(prompts)
        finally:
            self._reading.release()

    def ask(self, call: Call) -> Saying:
        return self._alone(call, self._tier.ask(call))

    def _alone(self, call: Call, saying: Saying) -> Saying:
        if self._model is None:
            return (yield from saying)
        if not self._model.acquire(_CLAIM.get(), call.cancelled):
            return None
        try:
            said = yield from saying
        finally:
            self._model.release()
        if said is None or said.resume is None:
            return said
        resume = said.resume
        return said._replace(resume=lambda: self._alone(call, resume()))

    def close(self) -> None:
        self._tier.close()
