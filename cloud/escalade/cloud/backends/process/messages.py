"""What a server and its engine's process say to each other, as bytes; knows no process, no engine.

A message is a list that begins with its kind and the number of its call, in MessagePack, after its
length in 4 bytes, little-endian. No pickle: neither side runs what the other says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
from google.protobuf.message import Message

from escalade.cloud import errors
from escalade.cloud.backends.backend import BackendInfo, Gauge
from escalade.cloud.backends.query import (
    Answer,
    Delta,
    Query,
    Sampling,
    ScoreQuery,
    Scores,
    TopRow,
    Verdict,
)
from escalade.cloud.errors import ServeError
from escalade.v1 import cascade_pb2 as pb

#: What MessagePack gives: numbers, texts, bytes, lists and mappings of them. Each kind of message
#: says below what its own become.
Plain: TypeAlias = Any

_LENGTH = 4


class Settings(NamedTuple):
    """Of an engine; see `process_factory`."""

    model: str
    max_new_tokens: int | None
    threads: int | None
    device: str
    dtype: str
    deterministic: bool
    kv_bytes: int | None
    before: str


class Kind(IntEnum):
    """What a message is; those of a call carry its number, others 0."""

    # To the engine.
    LOAD = 1
    GENERATE = 2
    SCORE = 3
    VERIFY = 4
    CANCEL = 5
    # From it.
    READY = 6
    DELTA = 7
    SCORES = 8
    VERDICT = 9
    REFUSED = 10
    PULSE = 11
    SAID = 12
    LOGGED = 13
    BEGUN = 14


def message(kind: Kind, number: int, *content: object) -> bytes:
    """A message as it travels."""
    body = _ENCODER.encode((int(kind), number, *content))
    return len(body).to_bytes(_LENGTH, "little") + body


class Messages:
    """Cuts what comes into messages."""

    def __init__(self) -> None:
        self._come = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, list[Plain]]]:
        """Every message that is whole now: its kind, its number and its content."""
        self._come += data
        at = 0
        while len(self._come) - at >= _LENGTH:
            end = at + _LENGTH + int.from_bytes(self._come[at : at + _LENGTH], "little")
            if len(self._come) < end:
                break
            kind, number, *content = _DECODER.decode(bytes(self._come[at + _LENGTH : end]))
            at = end
            yield Kind(kind), number, content
        del self._come[:at]


def _plain(value: object) -> object:
    """What MessagePack has no form for."""
    if isinstance(value, Message):
        return value.SerializeToString()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, ServeError):
        return type(value).__name__, str(value), vars(value)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} does not travel")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain)
_DECODER = msgspec.msgpack.Decoder(list)

M = TypeVar("M", bound=Message)


def _parsed(make: Callable[[], M], data: bytes | None) -> M | None:
    if data is None:
        return None
    parsed = make()
    parsed.ParseFromString(data)
    return parsed


def query_of(said: Mapping[str, Plain]) -> Query:
    """A query that has travelled."""
    return Query(
        **{
            **said,
            "prompt_ids": tuple(said["prompt_ids"]),
            "stop_texts": tuple(said["stop_texts"]),
            "via": tuple(said["via"]),
            "draft": _parsed(pb.Draft, said["draft"]),
            "sampling": None if said["sampling"] is None else Sampling(*said["sampling"]),
        }
    )


def delta_of(said: list[Plain]) -> Delta:
    """A piece of a stream that has travelled."""
    token_ids, logprobs, text, answer, top = said
    return Delta(
        token_ids, logprobs, text, None if answer is None else _answer_of(answer), _top(top)
    )


def _answer_of(said: Mapping[str, Plain]) -> Answer:
    return Answer(
        **{
            **said,
            "reports": tuple(_parsed(pb.TierReport, one) for one in said["reports"]),
            "model": _parsed(pb.ModelIdentity, said["model"]),
            "top": _top(said["top"]),
        }
    )


def _top(said: list[Plain]) -> list[TopRow]:
    return [TopRow(*row) for row in said]


def score_queries_of(said: list[Plain]) -> list[ScoreQuery]:
    """A batch of given responses that has travelled."""
    return [ScoreQuery(tuple(one["prompt_ids"]), tuple(one["response_ids"])) for one in said]


def scores_of(said: list[Plain]) -> list[Scores]:
    """Scores that have travelled."""
    return [Scores(**{name: _array(*array) for name, array in one.items()}) for one in said]


def _array(dtype: str, shape: list[int], data: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def verdict_of(said: list[Plain]) -> Verdict:
    """A verdict that has travelled."""
    return Verdict(*said)


def info_of(said: Mapping[str, Plain]) -> BackendInfo:
    """What a backend says of itself, that has travelled."""
    return BackendInfo(
        **{
            **said,
            "model": _parsed(pb.ModelIdentity, said["model"]),
            "end_of_sequence_ids": tuple(said["end_of_sequence_ids"]),
            "capabilities": tuple(said["capabilities"]),
            "tiers": tuple(_parsed(pb.TierDescription, one) for one in said["tiers"]),
        }
    )


def gauges_of(said: list[Plain]) -> list[Gauge]:
    """Gauges that have travelled."""
    return [Gauge(*one) for one in said]


def error_of(said: list[Plain]) -> ServeError:
    """An error that has travelled; one of those that `escalade.cloud.errors` names."""
    name, text, more = said
    kind = getattr(errors, name)
    error = kind.__new__(kind)
    if not isinstance(error, ServeError):
        raise TypeError(f"{name} is no error of a server")
    error.args = (text,)
    vars(error).update(more)
    return error
