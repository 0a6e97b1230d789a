"""The servicer of `escalade.v1.CascadeService`: checks, shares, answers; knows no engine.

Served: Generate and GetModelInfo. The other RPCs answer NOT_SUPPORTED, and GetModelInfo
does not list them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar, cast

import grpc.aio

from escalade.cloud import validation
from escalade.cloud.answers import Answers
from escalade.cloud.draft import compare_draft
from escalade.cloud.engine import EngineInfo, Query
from escalade.cloud.errors import DrainingError, NotSupportedError, PromptEmptyError
from escalade.cloud.status import answer_or_abort
from escalade.cloud.worker import Clock, Finished, Ticket, Worker, deadline_after
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
        on_engine_state: told after each computation whether the engine works.
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
        """Refuse every request that is not known yet."""
        self._draining = True

    async def wait_idle(self) -> None:
        """Wait until no Generate is under way."""
        await self._idle.wait()

    async def Generate(  # noqa: N802
        self,
        request: pb.GenerateRequest,
        context: grpc.aio.ServicerContext[pb.GenerateRequest, pb.GenerateResponse],
    ) -> pb.GenerateResponse:
        """Answer one query, whole."""
        # None without a deadline, whatever the type stubs say.
        remaining_s = cast("float | None", context.time_remaining())
        answer = self._answers.once(
            _key_of(request),
            deadline_after(remaining_s, self._clock),
            partial(self._generate, request),
        )
        self._in_flight += 1
        self._idle.clear()
        try:
            return await answer_or_abort(context, answer)
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def GetModelInfo(  # noqa: N802
        self,
        request: pb.GetModelInfoRequest,
        context: grpc.aio.ServicerContext[pb.GetModelInfoRequest, pb.GetModelInfoResponse],
    ) -> pb.GetModelInfoResponse:
        """Say who is serving, and within which limits."""
        info = self._engine.info
        return pb.GetModelInfoResponse(
            model=_identity_of(info),
            engine=info.engine,
            parameter_count=info.parameter_count,
            vocabulary_size=info.vocabulary_size,
            context_length=info.context_length,
            end_of_sequence_ids=info.end_of_sequence_ids,
            max_new_tokens=info.max_new_tokens,
            queue_capacity=self._queue_capacity,
            capabilities=[pb.CAPABILITY_GENERATE],
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

    async def Score(  # noqa: N802
        self,
        request: pb.ScoreRequest,
        context: grpc.aio.ServicerContext[pb.ScoreRequest, pb.ScoreResponse],
    ) -> AsyncIterator[pb.ScoreResponse]:
        """Refuse: not offered."""
        yield await answer_or_abort(context, _not_supported("Score", pb.ScoreResponse))

    async def Verify(  # noqa: N802
        self,
        request: pb.VerifyRequest,
        context: grpc.aio.ServicerContext[pb.VerifyRequest, pb.VerifyResponse],
    ) -> pb.VerifyResponse:
        """Refuse: not offered."""
        return await answer_or_abort(context, _not_supported("Verify", pb.VerifyResponse))

    async def _generate(self, request: pb.GenerateRequest, ticket: Ticket) -> pb.GenerateResponse:
        if self._draining:
            raise DrainingError("server: shutting down; ask another one")
        self._worker.refuse_when_full()
        query = await self._query_of(request)
        try:
            finished = await self._worker.run(query, ticket)
        finally:
            await self._on_engine_state(not self._worker.dead)
        return _response_of(request, query, finished, self._engine.info)

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


def _identity_of(info: EngineInfo) -> pb.ModelIdentity:
    return pb.ModelIdentity(
        name=info.name,
        revision=info.revision,
        tokenizer_fingerprint=info.tokenizer_fingerprint,
    )


def _response_of(
    request: pb.GenerateRequest, query: Query, finished: Finished, info: EngineInfo
) -> pb.GenerateResponse:
    answer = finished.answer
    output = request.output
    response = pb.GenerateResponse(
        request_id=request.request_id,
        model=_identity_of(info),
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
