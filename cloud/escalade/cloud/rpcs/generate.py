"""A Generate request as a query, and an answer as messages, whole or as a stream; knows no backend.

A stream is numbered 0, 1, 2, ... without gaps. Its chunks together are the response, or of one that
goes on where another was cut, the rest of it; the last message is the whole of it, with usage and
reports. Failures are in the status alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from escalade.cloud.backends import Answer, BackendInfo, Delta, Query, TopRow
from escalade.cloud.rpcs.checks import (
    check_expected_model,
    check_priority,
    max_new_tokens_of,
    prompt_ids_of,
    sampling_of,
    stop_texts_of,
    top_logprobs_of,
)
from escalade.cloud.rpcs.draft import check_draft, compare_draft
from escalade.cloud.rpcs.status import Send
from escalade.v1 import cascade_pb2 as pb

_INT32_BYTES = 4


def key_of(request: pb.GenerateRequest) -> bytes | None:
    """What makes two requests the same: the id and, lest two clients share one, the content."""
    if not request.request_id:
        return None
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def query_of(request: pb.GenerateRequest, info: BackendInfo, *, streamed: bool) -> Query:
    """Check a request and take what a backend needs of it.

    Raises:
        RequestError: it cannot be answered; see `validation`.
    """
    # A short query feels each part that is looked into only to find that it is not there.
    if request.HasField("expected_model"):
        check_expected_model(request.expected_model, info)
    check_priority(request.priority)
    sampling = None
    if request.HasField("sampling"):
        sampling = sampling_of(request.sampling, partial(key_of, request), info)
    top_logprobs = top_logprobs_of(request.output, info)
    max_new_tokens = max_new_tokens_of(request.stopping, info)
    stop_texts = stop_texts_of(request.stopping)
    draft = None
    if request.HasField("draft"):
        draft = request.draft
        check_draft(draft, info)
    prompt = request.prompt
    return Query(
        prompt_ids_of(prompt, info),
        max_new_tokens,
        stop_texts,
        prompt_text=prompt.text,
        draft=draft,
        via=tuple(request.via[:]),
        logprobs=request.output.logprobs,
        streamed=streamed,
        sampling=sampling,
        top_logprobs=top_logprobs,
    )


def response_of(
    request: pb.GenerateRequest, answer: Answer, info: BackendInfo
) -> pb.GenerateResponse:
    """The answer as the request wants it."""
    output = request.output
    response = pb.GenerateResponse(
        request_id=request.request_id,
        model=info.model if answer.model is None else answer.model,
        token_ids=answer.token_ids,
        text=answer.text if _wants_text(output) else "",
        stop_reason=answer.stop_reason,
        reports=answer.reports,
        degraded=answer.degraded,
    )
    # A short query feels each field that is set to nothing, and each message that is made only to
    # be copied.
    if output.logprobs:
        response.logprobs.extend(answer.logprobs)
    usage, timing = response.usage, response.timing
    usage.prompt_tokens = answer.prompt_tokens
    usage.generated_tokens = answer.generated_tokens
    usage.cached_prompt_tokens = answer.cached_prompt_tokens
    timing.queue_s, timing.compute_s = answer.queue_s, answer.compute_s
    _put_top(response, answer.top)
    # What was drawn says nothing of the greedy choice.
    if request.HasField("draft") and not request.sampling.temperature:
        draft = request.draft
        outcome = compare_draft(answer, draft.tokens.ids or answer.draft_ids, draft.start)
        if answer.lenient is not None:
            outcome.acceptance.CopyFrom(draft.acceptance)
            outcome.lenient_count = answer.lenient
        response.draft_outcome.CopyFrom(outcome)
        usage.accepted_draft_tokens = outcome.accepted_count - outcome.lenient_count
    return response


async def send_stream(
    request: pb.GenerateRequest,
    deltas: AsyncIterator[Delta],
    info: BackendInfo,
    *,
    send: Send[pb.GenerateStreamResponse],
    offset: int = 0,
) -> None:
    """Send an answer as it comes.

    Args:
        request: checked.
        deltas: taken as fast as `send` returns.
        info: the backend's.
        send: returns when the transport has taken the message.
        offset: tokens of the response before the first delta.
    """
    with_logprobs, with_text = request.output.logprobs, _wants_text(request.output)
    sequence = 0
    async for delta in deltas:
        if delta.token_ids or delta.text:
            message = pb.GenerateStreamResponse(sequence=sequence, token_offset=offset)
            chunk = message.chunk
            chunk.token_ids.extend(delta.token_ids)
            if with_logprobs:
                chunk.logprobs.extend(delta.logprobs)
            if with_text:
                chunk.text = delta.text
            _put_top(chunk, delta.top)
            chunk.SetInParent()  # also where nothing of it is wanted
            await send(message)
            sequence += 1
            offset += len(delta.token_ids)
        if delta.answer is not None:
            final = response_of(request, delta.answer, info)
            await send(
                pb.GenerateStreamResponse(sequence=sequence, token_offset=offset, final=final)
            )


def _wants_text(output: pb.OutputOptions) -> bool:
    return output.text or not output.HasField("text")


def _put_top(message: pb.TokenChunk | pb.GenerateResponse, rows: Sequence[TopRow]) -> None:
    """Write rows into a message, where there are any."""
    if not rows:
        return
    shape = (len(rows), len(rows[0].ids) // _INT32_BYTES)
    ids, logprobs = message.top_ids, message.top_logprobs
    ids.data, ids.dtype = b"".join(row.ids for row in rows), pb.DATA_TYPE_INT32
    logprobs.data, logprobs.dtype = b"".join(row.logprobs for row in rows), pb.DATA_TYPE_FLOAT32
    for tensor in (ids, logprobs):
        tensor.shape.extend(shape)
