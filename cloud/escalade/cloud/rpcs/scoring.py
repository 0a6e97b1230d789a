"""Scores a request's items batch by batch and sends them in chunks; knows no engine, no gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from escalade.cloud.backends import Finished, ScoreQuery, Scores, Ticket, Worker
from escalade.v1 import cascade_pb2 as pb

# Tokens of a batch, padding included; a longer item is a batch of its own. A query waits for
# one batch, so it is no larger than it must be: with the bundled large model on one x86 core,
# 8 items of 24 tokens run at 450 items/s, 128 of them at 340.
_BATCH_TOKENS = 512

# Bytes of scores in one message, a sixteenth of gRPC's default limit; one token's row at least.
_CHUNK_BYTES = 256 << 10

Send = Callable[[pb.ScoreResponse], Awaitable[None]]


async def send_scores(
    request: pb.ScoreRequest,
    worker: Worker,
    ticket: Ticket,
    *,
    send: Send,
    may_go_on: Callable[[], None],
) -> None:
    """Score what a checked request has left to score, in order, and sum it up.

    While one batch is sent the next is computed, and no other: a slow reader holds the work
    back, once what it has not read fills HTTP/2's window (64 KiB, unless the client's gRPC
    widens it). The summary counts the items of this stream, not those before `resume_from`, and
    as prompt tokens all that were read, the responses too.

    Args:
        request: see `validation.check_score`.
        worker: holds a loaded engine.
        ticket: asked before each batch.
        send: returns when the transport has taken the message.
        may_go_on: called when a batch's turn has come; what it raises ends the stream.
    """
    sequence = count()
    index = request.resume_from
    usage, timing = pb.Usage(), pb.Timing()
    batches = _batches(request)

    async def score(batch: list[ScoreQuery]) -> Finished[list[Scores]]:
        return await worker.score(batch, request.top_k, ticket, may_go_on)

    def start() -> asyncio.Task[Finished[list[Scores]]] | None:
        batch = next(batches, None)
        if batch is None:
            return None
        usage.prompt_tokens += sum(map(len, batch))
        task = asyncio.create_task(score(batch))
        # Nobody awaits it when the stream ends first; what it raised is nobody's news then.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    ahead = start()
    try:
        while ahead is not None:
            finished = await ahead
            ahead = start()
            timing.queue_s += finished.queue_s
            timing.compute_s += finished.compute_s
            for scores in finished.answer:
                for chunk in _chunks(index, request.items[index].item_id, scores):
                    await send(pb.ScoreResponse(sequence=next(sequence), chunk=chunk))
                index += 1
    finally:
        if ahead is not None:
            ahead.cancel()
    summary = pb.ScoreSummary(
        model=worker.engine.info.identity,
        items=index - request.resume_from,
        usage=usage,
        timing=timing,
    )
    await send(pb.ScoreResponse(sequence=next(sequence), final=summary))


def _batches(request: pb.ScoreRequest) -> Iterator[list[ScoreQuery]]:
    """What is left to score, in order, in small batches; made only when asked for."""
    batch, longest = list[ScoreQuery](), 0
    for index in range(request.resume_from, len(request.items)):
        item = request.items[index]
        query = ScoreQuery(tuple(item.prompt.ids), tuple(item.response.ids))
        longest = max(longest, len(query))
        if batch and longest * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch, longest = [], len(query)
        batch.append(query)
    if batch:
        yield batch


def _chunks(index: int, item_id: str, scores: Scores) -> Iterator[pb.ScoreChunk]:
    tokens, top_k = scores.top_ids.shape
    step = max(1, _CHUNK_BYTES // (8 + 8 * top_k))
    for offset in range(0, tokens, step):
        part = slice(offset, offset + step)
        yield pb.ScoreChunk(
            item_index=index,
            item_id=item_id,
            token_offset=offset,
            argmax=_int32(scores.argmax[part]),
            response_logprobs=_float32(scores.response_logprobs[part]),
            top_ids=_int32(scores.top_ids[part]) if top_k else None,
            top_logprobs=_float32(scores.top_logprobs[part]) if top_k else None,
        )


def _int32(array: NDArray[np.int32]) -> pb.Tensor:
    data = array.astype("<i4", copy=False).tobytes()
    return pb.Tensor(data=data, shape=array.shape, dtype=pb.DATA_TYPE_INT32)


def _float32(array: NDArray[np.float32]) -> pb.Tensor:
    data = array.astype("<f4", copy=False).tobytes()
    return pb.Tensor(data=data, shape=array.shape, dtype=pb.DATA_TYPE_FLOAT32)
