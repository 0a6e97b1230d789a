"""Sends the scores of a request's items in chunks; knows no backend, no gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from escalade.cloud.backends import BackendInfo, ScoredBatch, ScoreQuery, Scores
from escalade.cloud.rpcs.checks import check_score_items
from escalade.cloud.rpcs.status import Send
from escalade.v1 import cascade_pb2 as pb

# Bytes of scores in one message, a sixteenth of gRPC's default limit; one token's row at least.
_CHUNK_BYTES = 256 << 10


def score_queries(request: pb.ScoreRequest, info: BackendInfo) -> Iterator[ScoreQuery]:
    """What a request has left to score, in order; all is checked when the first is asked for.

    Raises:
        RequestError: see `validation.check_score_items`.
    """
    check_score_items(request, info)
    for index in range(request.resume_from, len(request.items)):
        item = request.items[index]
        yield ScoreQuery(tuple(item.prompt.ids), tuple(item.response.ids))


async def send_scores(
    request: pb.ScoreRequest,
    batches: AsyncIterator[ScoredBatch],
    info: BackendInfo,
    *,
    send: Send[pb.ScoreResponse],
) -> None:
    """Send the scores of `score_queries`, and sum them up.

    A slow reader holds the work back, once what it has not read fills HTTP/2's window (64 KiB,
    unless the client's gRPC widens it). The summary counts the items of this stream, not those
    before `resume_from`, and as prompt tokens all that were read, the responses too.

    Args:
        request: see `validation.check_score`.
        batches: taken as fast as `send` returns.
        info: the backend's.
        send: returns when the transport has taken the message.
    """
    sequence = count()
    index = request.resume_from
    usage, timing = pb.Usage(), pb.Timing()
    async for batch in batches:
        timing.queue_s += batch.queue_s
        timing.compute_s += batch.compute_s
        for scores in batch.scores:
            item = request.items[index]
            usage.prompt_tokens += len(item.prompt.ids) + len(item.response.ids)
            for chunk in _chunks(index, item.item_id, scores):
                await send(pb.ScoreResponse(sequence=next(sequence), chunk=chunk))
            index += 1
    summary = pb.ScoreSummary(
        model=info.model, items=index - request.resume_from, usage=usage, timing=timing
    )
    await send(pb.ScoreResponse(sequence=next(sequence), final=summary))


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
