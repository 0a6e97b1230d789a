"""The likeliest tokens of each position as messages; knows no backend, no gRPC."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends import TopRow
from escalade.v1 import cascade_pb2 as pb

_INT32_BYTES = 4


def put_top(message: pb.TokenChunk | pb.GenerateResponse, rows: Sequence[TopRow]) -> None:
    """Write rows into a message, where there are any."""
    if not rows:
        return
    shape = (len(rows), len(rows[0].ids) // _INT32_BYTES)
    ids, logprobs = message.top_ids, message.top_logprobs
    ids.data, ids.dtype = b"".join(row.ids for row in rows), pb.DATA_TYPE_INT32
    logprobs.data, logprobs.dtype = b"".join(row.logprobs for row in rows), pb.DATA_TYPE_FLOAT32
    for tensor in (ids, logprobs):
        tensor.shape.extend(shape)
