"""The likeliest tokens that a response of a remote has beside its own; knows no channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from escalade.edge.errors import CloudError
from escalade.v1 import cascade_pb2 as pb

_Number = TypeVar("_Number", np.int32, np.float32)

# A float32 log-probability of a certain token may be rounded to just above 0.
_ROUNDING = 1e-5


def likeliest_of(
    request: pb.GenerateRequest, response: pb.GenerateResponse, address: str
) -> Sequence[Sequence[tuple[int, float]]]:
    """Of each token those that were asked for, best first, with their log-probabilities.

    Args:
        request: what was asked.
        response: of the remote, checked but for these.
        address: who said it, for the message.

    Raises:
        CloudError: of reason BAD_ANSWER; they cannot be.
    """
    most = request.output.top_logprobs
    if not most:
        return ()
    ids = _array(response.top_ids, pb.DATA_TYPE_INT32, np.int32)
    logprobs = _array(response.top_logprobs, pb.DATA_TYPE_FLOAT32, np.float32)
    rows = len(response.logprobs)
    if (
        ids is None
        or logprobs is None
        or ids.shape != logprobs.shape
        or ids.shape[0] != rows
        or ids.shape[1] > most
        or (ids.size and int(ids.min()) < 0)
        or not bool(np.all(logprobs <= _ROUNDING))  # NaN neither
    ):
        raise CloudError(
            "BAD_ANSWER", f"{address}: the likeliest tokens of its answer cannot be what they are"
        )
    return [
        [(int(one), float(value)) for one, value in zip(*row, strict=True) if math.isfinite(value)]
        for row in zip(ids, logprobs, strict=True)
    ]


def _array(tensor: pb.Tensor, kind: pb.DataType, wanted: type[_Number]) -> NDArray[_Number] | None:
    """As it says it is; None where it is not."""
    shape = tuple(tensor.shape)
    if tensor.dtype != kind or len(shape) != 2:  # noqa: PLR2004 - (n, k)
        return None
    little = np.dtype(wanted).newbyteorder("<")
    if shape[0] * shape[1] * little.itemsize != len(tensor.data):
        return None
    return np.frombuffer(tensor.data, dtype=little).astype(wanted).reshape(shape)
