"""The servicer of `escalade.v1.CascadeService`: checks, shares, sends; knows no backend.

What a backend does not offer answers NOT_SUPPORTED, and GetModelInfo does not list it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar, cast

import grpc.aio
from google.protobuf.message import Message

from escalade.cloud.backends import (
    Backend,
    Claim,
    Clock,
    Delta,
    Query,
    Ticket,
    deadline_after,
)
from escalade.cloud.errors import NotSupportedError
from escalade.cloud.rpcs import (
    Drain,
    Send,
    SharedAnswers,
    check_generate_size,
    check_score,
    check_score_size,
    check_verify,
    claim_of,
    end_with,
    keep_s_of,
    key_of,
    peer_of,
    query_of,
    received_of,
    response_of,
    score_queries,
    send_scores,
    send_stream,
    verdict_response,
    writer,
)
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["CascadeService"].full_name

Req = TypeVar("Req")
Resp = TypeVar("Resp")
T = TypeVar("T")


class CascadeService(pb_grpc.CascadeServiceServicer):
    """Answers queries with a backend.

    Args:
        backend: loaded.
        answers_kept: answers remembered for repeated request ids.
        unread_s: seconds after which a stream that its client does not read is ended.
        clock: seconds, monotonic.
        on_health: told when the backend begins or ceases to work.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        answers_kept: int,
        unread_s: float,
        clock: Clock,
        on_health: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._answers = SharedAnswers(answers_kept, clock)
        self._unread_s = unread_s
        self._drain = Drain()
        self._on_health = on_health
        self._healthy = True

    def start_draining(self) -> None:
        """Refuse every request not known yet, and let no stream of scores go on to a next batch."""
        self._drain.start()
        self._answers.keep_none()

    async def wait_idle(self) -> None:
        """Wait until no request is under way."""
        await self._drain.wait_idle()

    def abandon(self) -> None:
        """Stop what is being computed, as soon as can be."""
        self._answers.abandon()

    async def look_at_health(self) -> None:
        """Tell where the backend has begun or ceased to work since the last look."""
        healthy = self._backend.health()
        if healthy != self._healthy:
            self._healthy = healthy
            await self._on_health(healthy)

    async def Generate(  # noqa: N802
        self,
        request: pb.GenerateRequest,
        context: grpc.aio.ServicerContext[pb.GenerateRequest, pb.GenerateResponse],
    ) -> pb.GenerateResponse:
        """Answer one query, whole."""

        async def whole() -> pb.GenerateResponse:
            check_generate_size(request, self._backend.info)
            answer = await self._answers.once(
                key_of(request),
                self._deadline_of(context),
                partial(self._start, request, streamed=False),
                _claim_of(context, request, request.priority),
            )
            return response_of(request, answer, self._backend.info)

        return await self._answer(context, whole())

    # The stubs' types know generators only. These two write: a generator that is cancelled
    # while its message waits for the network is closed when the collector finds it.
    async def GenerateStream(  # type: ignore[override]  # noqa: N802
        self,
        request: pb.GenerateStreamRequest,
        context: grpc.aio.ServicerContext[pb.GenerateStreamRequest, pb.GenerateStreamResponse],
    ) -> None:
        """Answer one query, piece by piece."""
        asked = request.request

        async def stream() -> None:
            check_generate_size(asked, self._backend.info)
            received = received_of(request)
            deltas = self._answers.follow(
                key_of(asked),
                self._deadline_of(context),
                partial(self._start, asked, streamed=True),
                _claim_of(context, request, asked.priority),
                received=received,
                keep_s=keep_s_of(request),
            )
            async with writer(context, self._unread_s) as send, aclosing(deltas):
                await send_stream(
                    asked, deltas, self._backend.info, send=send, offset=received.tokens
                )

        await self._answer(context, stream())

    async def Score(  # type: ignore[override]  # noqa: N802
        self,
        request: pb.ScoreRequest,
        context: grpc.aio.ServicerContext[pb.ScoreRequest, pb.ScoreResponse],
    ) -> None:
        """Score given responses, item by item."""
        ticket = Ticket(self._deadline_of(context), self._clock, _claim_of(context, request))

        async def stream() -> None:
            async with writer(context, self._unread_s) as send:
                await self._score(request, ticket, send)

        try:
            await self._answer(context, stream(), ticket)
        finally:
            # What was begun ahead is for nobody.
            ticket.cancel()

    async def Verify(  # noqa: N802
        self,
        request: pb.VerifyRequest,
        context: grpc.aio.ServicerContext[pb.VerifyRequest, pb.VerifyResponse],
    ) -> pb.VerifyResponse:
        """Hold a draft against the greedy choice."""
        ticket = Ticket(self._deadline_of(context), self._clock, _claim_of(context, request))
        return await self._answer(context, self._verify(request, ticket))

    async def GetModelInfo(  # noqa: N802
        self,
        request: pb.GetModelInfoRequest,
        context: grpc.aio.ServicerContext[pb.GetModelInfoRequest, pb.GetModelInfoResponse],
    ) -> pb.GetModelInfoResponse:
        """Say who is serving, and within which limits."""
        info = self._backend.info
        return pb.GetModelInfoResponse(
            model=info.model,
            engine=info.engine,
            parameter_count=info.parameter_count,
            vocabulary_size=info.vocabulary_size,
            context_length=info.context_length,
            end_of_sequence_ids=info.end_of_sequence_ids,
            max_new_tokens=info.max_new_tokens,
            queue_capacity=info.queue_capacity,
            capabilities=info.capabilities,
            max_top_k=info.max_top_k,
            max_top_logprobs=info.max_top_logprobs,
            tiers=info.tiers,
        )

    def _start(
        self, request: pb.GenerateRequest, ticket: Ticket, *, streamed: bool
    ) -> AsyncIterator[Delta]:
        """Begin an answer."""
        self._admit(pb.CAPABILITY_GENERATE_STREAM if streamed else pb.CAPABILITY_GENERATE)
        query = query_of(request, self._backend.info, streamed=streamed)
        self._backend.check_room(ticket)
        return self._backend.generate(query, ticket)

    async def _score(
        self, request: pb.ScoreRequest, ticket: Ticket, send: Send[pb.ScoreResponse]
    ) -> None:
        self._admit(pb.CAPABILITY_SCORE)
        info = self._backend.info
        check_score_size(request)
        check_score(request, info)
        batches = self._backend.score(score_queries(request, info), request.top_k, ticket)
        async with aclosing(batches):
            await send_scores(request, batches, info, send=send)

    async def _verify(self, request: pb.VerifyRequest, ticket: Ticket) -> pb.VerifyResponse:
        self._admit(pb.CAPABILITY_VERIFY)
        info = self._backend.info
        check_verify(request, info)
        query = Query(
            tuple(request.prompt.tokens.ids),
            max_new_tokens=1,
            prompt_text=request.prompt.text,
            draft=request.draft,
        )
        return verdict_response(request, await self._backend.verify(query, ticket), info)

    def _admit(self, capability: pb.Capability) -> None:
        """Return where new work of this kind is taken.

        Raises:
            NotSupportedError: the backend does not offer it.
            DrainingError: the server is shutting down.
        """
        if capability not in self._backend.info.capabilities:
            name = pb.Capability.Name(capability).removeprefix("CAPABILITY_")
            raise NotSupportedError(
                f"{name}: this server does not offer it; GetModelInfo lists what it does"
            )
        self._drain.refuse_new()

    async def _answer(
        self,
        context: grpc.aio.ServicerContext[Req, Resp],
        work: Awaitable[T],
        interruptible: Ticket | None = None,
    ) -> T:
        """Do a request's work, waited for by a drain; what it refuses ends the RPC."""
        self._drain.begin(interruptible)
        try:
            try:
                return await work
            finally:
                await self.look_at_health()
        except Exception as error:
            await end_with(context, error)
        finally:
            self._drain.end(interruptible)

    def _deadline_of(self, context: grpc.aio.ServicerContext[Req, Resp]) -> float:
        # None without a deadline, whatever the type stubs say.
        remaining_s = cast("float | None", context.time_remaining())
        return deadline_after(remaining_s, self._clock)


def _claim_of(
    context: grpc.aio.ServicerContext[Req, Resp],
    request: Message,
    priority: pb.Priority = pb.PRIORITY_INTERACTIVE,
) -> Claim:
    batch = priority == pb.PRIORITY_BATCH
    return claim_of(peer_of(context), request.ByteSize(), batch=batch)
