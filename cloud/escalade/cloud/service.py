"""The servicer of `escalade.v1.CascadeService`: checks, shares, answers; knows no engine.

Served: Generate, Score and GetModelInfo. The other RPCs answer NOT_SUPPORTED, and
GetModelInfo does not list them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar, cast

import grpc.aio

from escalade.cloud.backends import (
    Answer,
    Clock,
    EngineInfo,
    Finished,
    Query,
    Ticket,
    Worker,
    deadline_after,
)
from escalade.cloud.errors import DrainingError, NotSupportedError, PromptEmptyError
from escalade.cloud.rpcs import (
    Answers,
    Send,
    answer_or_abort,
    compare_draft,
    send_scores,
    validation,
)
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["CascadeService"].full_name

T = TypeVar("T")


class CascadeService(pb_grpc.CascadeServiceServicer):
    """Answers queries with the worker's engine.

    Args:
        worker: holds a loaded engine.
        queue_capacity: the worker's, to be told to clients.
        answers_kept: answers remembered for repeated request ids.
        clock: seconds, monotonic.
        on_engine_state: told whether the engine works, after each query and each stream of
            scores.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        queue_capacity: int,
        answers_kept: int,
        clock: Clock,
        on_engine_state: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._worker = worker
        self._engine = worker.engine
        self._queue_capacity = queue_capacity
        self._clock = clock
        self._answers = Answers(answers_kept, clock)
        self._on_engine_state = on_engine_state
        self._draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start_draining(self) -> None:
        """Refuse every request not known yet, and let no stream of scores go on to a next batch."""
        self._draining = True

    async def wait_idle(self) -> None:
        """Wait until no Generate and no Score is under way."""
        await self._idle.wait()

    async def Generate(  # noqa: N802
        self,
        request: pb.GenerateRequest,
        context: grpc.aio.ServicerContext[pb.GenerateRequest, pb.GenerateResponse],
    ) -> pb.GenerateResponse:
        """Answer one query, whole."""
        answer = self._answers.once(
            _key_of(request),
            self._deadline_of(context.time_remaining()),
            partial(self._generate, request),
        )
        with self._under_way():
            return await answer_or_abort(context, answer)

    # The stub's type knows generators only. This one writes: a generator that is cancelled
    # while its message waits for the network is closed when the collector finds it.
    async def Score(  # type: ignore[override]  # noqa: N802
        self,
        request: pb.ScoreRequest,
        context: grpc.aio.ServicerContext[pb.ScoreRequest, pb.ScoreResponse],
    ) -> None:
        """Score given responses, item by item."""
        ticket = Ticket(self._deadline_of(context.time_remaining()), self._clock)

        async def send(response: pb.ScoreResponse) -> None:
            try:
                await context.write(response)
            except grpc.aio.InternalError as error:
                # The client has gone, and word of it has not come through yet.
                raise asyncio.CancelledError from error

        with self._under_way():
            await answer_or_abort(context, self._score(request, ticket, send))

    async def GetModelInfo(  # noqa: N802
        self,
        request: pb.GetModelInfoRequest,
        context: grpc.aio.ServicerContext[pb.GetModelInfoRequest, pb.GetModelInfoResponse],
    ) -> pb.GetModelInfoResponse:
        """Say who is serving, and within which limits."""
        info = self._engine.info
        return pb.GetModelInfoResponse(
            model=info.identity,
            engine=info.engine,
            parameter_count=info.parameter_count,
            vocabulary_size=info.vocabulary_size,
            context_length=info.context_length,
            end_of_sequence_ids=info.end_of_sequence_ids,
            max_new_tokens=info.max_new_tokens,
            queue_capacity=self._queue_capacity,
            capabilities=[pb.CAPABILITY_GENERATE, pb.CAPABILITY_SCORE],
            max_top_k=info.max_top_k,
        )

    async def GenerateStream(  # noqa: N802
        self,
        request: pb.GenerateStreamRequest,
        context: grpc.aio.ServicerContext[pb.GenerateStreamRequest, pb.GenerateStreamResponse],
    ) -> AsyncIterator[pb.GenerateStreamResponse]:
        """Refuse: not offered."""
        yield await answer_or_abort(
            context, _not_supported("GenerateStream", pb.GenerateStreamResponse)
        )

    async def Verify(  # noqa: N802
        self,
        request: pb.VerifyRequest,
        context: grpc.aio.ServicerContext[pb.VerifyRequest, pb.VerifyResponse],
    ) -> pb.VerifyResponse:
        """Refuse: not offered."""
        return await answer_or_abort(context, _not_supported("Verify", pb.VerifyResponse))

    async def _generate(self, request: pb.GenerateRequest, ticket: Ticket) -> pb.GenerateResponse:
        self._refuse_when_draining()
        self._worker.refuse_when_full()
        query = await self._query_of(request)
        try:
            finished = await self._worker.run(query, ticket)
        finally:
            await self._on_engine_state(not self._worker.dead)
        return _response_of(request, query, finished, self._engine.info)

    async def _score(self, request: pb.ScoreRequest, ticket: Ticket, send: Send) -> None:
        self._refuse_when_draining()
        with self._worker.score_place():
            # Thousands of items take their time; the loop has other work.
            await asyncio.to_thread(validation.check_score, request, self._engine.info)
            try:
                await send_scores(
                    request, self._worker, ticket, send=send, may_go_on=self._refuse_when_draining
                )
            finally:
                await self._on_engine_state(not self._worker.dead)

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise DrainingError("server: shutting down; ask another one")

    def _deadline_of(self, remaining_s: float) -> float:
        # None without a deadline, whatever the type stubs say.
        return deadline_after(cast("float | None", remaining_s), self._clock)

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def _query_of(self, request: pb.GenerateRequest) -> Query:
        info = self._engine.info
        validation.check_expected_model(request.expected_model, info)
        validation.check_greedy(request.sampling)
        max_new_tokens = validation.max_new_tokens_of(request.stopping, info)
        stop_sequences = validation.stop_sequences_of(request.stopping)
        if request.HasField("draft"):
            validation.check_draft(request.draft, info)
        prompt_ids = await self._prompt_ids_of(request.prompt, info)
        return Query(prompt_ids, max_new_tokens, stop_sequences)

    async def _prompt_ids_of(self, prompt: pb.Prompt, info: EngineInfo) -> tuple[int, ...]:
        if prompt.WhichOneof("content") == "tokens":
            field = "prompt.tokens.ids"
            ids = tuple(prompt.tokens.ids)
            validation.check_prompt_length(len(ids), field, info)
            validation.check_fingerprint(prompt.tokens.tokenizer_fingerprint, "prompt.tokens", info)
            validation.check_ids(ids, field, info)
            return ids
        if not prompt.text:
            raise PromptEmptyError("prompt", "must hold text or at least 1 token, got neither")
        # A long text takes its time; the loop and the engine's thread have other work.
        ids = tuple(await asyncio.to_thread(self._engine.encode, prompt.text))
        validation.check_prompt_length(len(ids), "prompt.text", info)
        return ids


async def _not_supported(rpc: str, response: type[T]) -> T:
    raise NotSupportedError(
        f"{rpc}: this server does not offer it; GetModelInfo lists what it does"
    )


def _key_of(request: pb.GenerateRequest) -> bytes | None:
    """What makes two requests the same: the id and, lest two clients share one, the content."""
    if not request.request_id:
        return None
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _response_of(
    request: pb.GenerateRequest, query: Query, finished: Finished[Answer], info: EngineInfo
) -> pb.GenerateResponse:
    answer = finished.answer
    output = request.output
    response = pb.GenerateResponse(
        request_id=request.request_id,
        model=info.identity,
        token_ids=answer.token_ids,
        logprobs=answer.logprobs if output.logprobs else (),
        text=answer.text if output.text or not output.HasField("text") else "",
        stop_reason=answer.stop_reason,
        usage=pb.Usage(
            prompt_tokens=len(query.prompt_ids), generated_tokens=answer.generated_tokens
        ),
        timing=pb.Timing(queue_s=finished.queue_s, compute_s=finished.compute_s),
    )
    if request.HasField("draft"):
        outcome = compare_draft(answer, request.draft.tokens.ids, request.draft.start)
        response.draft_outcome.CopyFrom(outcome)
        response.usage.accepted_draft_tokens = outcome.accepted_count
    return response
