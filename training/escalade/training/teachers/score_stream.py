"""Puts the chunks of one `Score` stream together; knows no network, no model.

A stream that is not what the contract says (`cascade.proto`: sequence, order, offsets,
shapes, types, summary), or whose numbers cannot be, is refused: scores that belong to other
tokens would train nothing but errors, in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.errors import CloudError
from escalade.edge.wire import ROUNDING
from escalade.v1 import cascade_pb2 as pb

# A sum of as many float32 probabilities as there are tokens.
_TOTAL_ROUNDING = 1e-3
_SHOWN = 80
_INT32 = (pb.DATA_TYPE_INT32, np.dtype("<i4"))
_FLOAT32 = (pb.DATA_TYPE_FLOAT32, np.dtype("<f4"))


class TokenScores(NamedTuple):
    """What the large model says of one response of n tokens, each after those before it."""

    #: `(n,)`, its greedy choice.
    argmax: NDArray[np.int32]
    #: `(n,)`, natural logarithms, of the response's own tokens.
    response_logprobs: NDArray[np.float32]
    #: `(n, k)`, best first.
    top_ids: NDArray[np.int32]
    #: `(n, k)`.
    top_logprobs: NDArray[np.float32]


def read_scores(
    stream: Iterable[pb.ScoreResponse], request: pb.ScoreRequest, info: pb.GetModelInfoResponse
) -> Iterator[TokenScores]:
    """Give each item when it is whole, from `request.resume_from` on.

    Args:
        stream: what the server sends; what it raises passes through.
        request: what it was asked; `resume_from` is read once, at the start.
        info: who must sign the summary, and how many tokens it knows.

    Raises:
        CloudError: BAD_ANSWER, with what is wrong.
    """
    first = index = request.resume_from
    part: _Part | None = None
    summary: pb.ScoreSummary | None = None
    for sequence, message in enumerate(stream):
        _need(summary is None, "a message follows the summary")
        _need(message.sequence == sequence, f"message {sequence} is numbered {message.sequence}")
        if message.WhichOneof("event") == "final":
            summary = message.final
            continue
        _need(message.HasField("chunk"), f"message {sequence} is empty")
        chunk = message.chunk
        _need(index < len(request.items), "more items than were asked")
        _need(chunk.item_index == index, f"item {chunk.item_index} came, {index} is due")
        if part is None:
            length = len(request.items[index].response.ids)
            part = _Part(length, request.top_k, info.vocabulary_size)
        if part.add(chunk):
            yield part.scores
            index, part = index + 1, None
    if summary is None:
        raise CloudError("BAD_ANSWER", "scores: the stream ended without its summary")
    count = len(request.items) - first
    _need(index == len(request.items), f"{index - first} of {count} items came whole")
    _need(summary.items == count, f"the summary counts {summary.items} items, not {count}")
    _need(
        summary.model == info.model,
        f"model {summary.model.name[:_SHOWN]!r} signed, not {info.model.name!r}",
    )


class _Part:
    """The scores of one item, filled from the front."""

    def __init__(self, tokens: int, top_k: int, vocabulary_size: int) -> None:
        self._top_k = top_k
        self._vocabulary_size = vocabulary_size
        self._received = 0
        # Arrays of our own: views of a message could not be written to, which torch minds.
        self.scores = TokenScores(
            np.empty(tokens, np.int32),
            np.empty(tokens, np.float32),
            np.empty((tokens, top_k), np.int32),
            np.empty((tokens, top_k), np.float32),
        )

    def add(self, chunk: pb.ScoreChunk) -> bool:
        """Fill in a chunk; says whether the item is whole."""
        start = self._received
        _need(chunk.token_offset == start, f"token {chunk.token_offset} came, {start} is due")
        count = chunk.argmax.shape[0] if len(chunk.argmax.shape) == 1 else 0
        end = start + count
        _need(
            count > 0 and end <= len(self.scores.argmax),
            f"argmax: {count} tokens from {start} on, the response has {len(self.scores.argmax)}",
        )
        self.scores.argmax[start:end] = _array(chunk.argmax, (count,), _INT32, "argmax")
        self.scores.response_logprobs[start:end] = _array(
            chunk.response_logprobs, (count,), _FLOAT32, "response_logprobs"
        )
        if self._top_k:
            shape = (count, self._top_k)
            self.scores.top_ids[start:end] = _array(chunk.top_ids, shape, _INT32, "top_ids")
            self.scores.top_logprobs[start:end] = _array(
                chunk.top_logprobs, shape, _FLOAT32, "top_logprobs"
            )
        self._check(start, end)
        self._received = end
        return end == len(self.scores.argmax)

    def _check(self, start: int, end: int) -> None:
        """Refuse numbers that cannot be."""
        argmax, own, ids, logprobs = (array[start:end] for array in self.scores)
        size = self._vocabulary_size
        for name, found in (("argmax", argmax), ("top_ids", ids)):
            _need(bool(((found >= 0) & (found < size)).all()), f"{name}: must be in 0..{size - 1}")
        for name, values in (("response_logprobs", own), ("top_logprobs", logprobs)):
            # Written so that what is no number does not hold.
            _need(bool((values <= ROUNDING).all()), f"{name}: above 0 or no number")
        best_first = bool((logprobs[:, 1:] <= logprobs[:, :-1]).all())
        _need(best_first, "top_logprobs: must come best first")
        total = np.exp(logprobs.astype(np.float64)).sum(axis=1)
        _need(bool((total <= 1.0 + _TOTAL_ROUNDING).all()), "top_logprobs: more than all there is")
        ordered = np.sort(ids, axis=1)
        twice = bool((ordered[:, 1:] == ordered[:, :-1]).any())
        _need(not twice, "top_ids: a token stands there twice")


def _array(
    tensor: pb.Tensor, shape: tuple[int, ...], kind: tuple[pb.DataType, np.dtype], name: str
) -> NDArray[np.generic]:
    dtype, numpy_dtype = kind
    found = pb.DataType.Name(tensor.dtype) if tensor.dtype in pb.DataType.values() else tensor.dtype
    _need(tensor.dtype == dtype, f"{name}: {found}, must be {pb.DataType.Name(dtype)}")
    _need(tuple(tensor.shape) == shape, f"{name}: shape {tuple(tensor.shape)}, must be {shape}")
    size = math.prod(shape) * numpy_dtype.itemsize
    _need(len(tensor.data) == size, f"{name}: {len(tensor.data)} bytes, must be {size}")
    return np.frombuffer(tensor.data, numpy_dtype).reshape(shape)


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise CloudError("BAD_ANSWER", f"scores: {message}")
