"""The trace of a cascade: one record for each query; knows no model, no network.

A trace is JSON Lines. The first line is a `TraceHeader` (who answered, under which rule),
every other line a `TraceRecord` with all that is needed to replay the query under another
threshold, network or fleet. Times are seconds, log-probabilities natural logarithms.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from escalade.edge.base import atomic_write, iter_jsonl
from escalade.edge.errors import DataError

TRACE_SCHEMA = 1

#: How an answered request ended. The fourth way, refused, is an error and leaves no record.
Outcome = Literal["answered", "deferred", "degraded"]


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a trace."""


L = TypeVar("L", bound=_Line)


class ModelInfo(_Line, frozen=True, kw_only=True):
    """Who a tier is, and how much it weighs: FLOPs a token are 2 x `parameters`."""

    name: str
    parameters: int
    #: Of the device's artifact: one digest over what decides its answers (`small_info` in
    #: journal.py). None of a cloud's model, and in traces of earlier versions.
    program_sha256: str | None = None


class TraceHeader(_Line, frozen=True, kw_only=True):
    """The first line: what holds for every record."""

    schema: int
    small: ModelInfo
    #: None where no cloud was ever reached.
    large: ModelInfo | None
    rule: str
    threshold: float
    created: str


class SmallAnswer(_Line, frozen=True, kw_only=True):
    """The device's own answer."""

    text: str
    #: Log-probability of each generated token, the end-of-sequence token included.
    logprobs: list[float]
    prompt_tokens: int
    generated_tokens: int
    generate_s: float
    #: Whether the text is among the references; None where there are none, or where the text
    #: was not finished.
    correct: bool | None
    #: Generation ended because the query would be deferred: text and log-probabilities are
    #: those of the beginning, and no rule or threshold but the header's can be told from them.
    stopped_early: bool = False


class LargeAnswer(_Line, frozen=True, kw_only=True):
    """The cloud's answer and what the call cost."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    correct: bool | None
    #: How often the query was sent.
    attempts: int = 1
    #: From the first attempt to the answer, as the device saw it.
    round_trip_s: float
    #: Queue and compute, as the server says; the rest of the round trip is network.
    server_s: float
    #: Serialized messages, without gRPC, TCP and IP framing.
    bytes_up: int
    #: How many of `bytes_up` are the small model's draft.
    draft_bytes: int = 0
    bytes_down: int


class TraceRecord(_Line, frozen=True, kw_only=True):
    """One query, whole."""

    id: str
    task: str
    prompt: str
    references: list[str]
    small: SmallAnswer
    #: The cloud's answer, where it was asked (always in shadow mode).
    large: LargeAnswer | None
    #: r(x) under the header's rule; the query is deferred when it is >= the threshold.
    score: float
    outcome: Outcome
    #: Seconds from the prompt to the answer, as the caller saw it.
    total_s: float
    #: Why the cloud did not answer, where it was asked and did not.
    reason: str | None = None


class Trace(NamedTuple):
    """A whole trace in memory."""

    header: TraceHeader
    records: list[TraceRecord]


def read_trace(path: Path) -> Trace:
    """Read a trace.

    Raises:
        DataError: missing, empty, of another schema, or a malformed line (named).
    """
    lines = iter_jsonl(path, msgspec.Raw)
    try:
        number, first = next(lines)
    except StopIteration:
        raise DataError(f"{path}: empty; the first line of a trace is its header") from None
    header = _decode(path, number, first, TraceHeader)
    if header.schema != TRACE_SCHEMA:
        raise DataError(f"{path}: trace schema {header.schema}; this version reads {TRACE_SCHEMA}")
    records = [_decode(path, number, raw, TraceRecord) for number, raw in lines]
    if not records:
        raise DataError(f"{path}: no records; at least 1 query is needed")
    return Trace(header, records)


def write_trace(path: Path, header: TraceHeader, records: Iterable[TraceRecord]) -> int:
    """Write a trace as the records come, aside and renamed at the end; returns how many."""
    encoder = msgspec.json.Encoder()
    count = 0
    with atomic_write(path) as stream:
        stream.write(encoder.encode(header) + b"\n")
        for record in records:
            stream.write(encoder.encode(record) + b"\n")
            count += 1
    return count


class TraceAppender:
    """Adds records to a trace as queries come, for as long as a client lives.

    A trace has one header, so a file that another rule, threshold or small model has begun
    takes no more of them.
    """

    def __init__(self, path: Path, ours: TraceHeader) -> None:
        """Look at what is there.

        Args:
            path: the trace, begun or not.
            ours: what a header would say now; who the large model is does not matter yet.

        Raises:
            DataError: the file cannot be read or written, is not a trace, or was begun
                under another rule, threshold or small model.
        """
        self._path = path
        self._begun = False
        if path.exists():
            self._begun = path.stat().st_size > 0
            if self._begun:
                self._refuse_another(read_trace(path).header, ours)
        elif not path.parent.is_dir():
            raise DataError(f"{path}: its folder does not exist")

    def append(self, header: Callable[[], TraceHeader], record: TraceRecord) -> None:
        """Add one record; a new trace begins with what `header` gives.

        Raises:
            DataError: it cannot be written; the file is as it was.
        """
        encoder = msgspec.json.Encoder()
        lines = b"" if self._begun else encoder.encode(header()) + b"\n"
        try:
            with self._path.open("ab", buffering=0) as stream:
                _write_whole(stream, lines + encoder.encode(record) + b"\n")
        except OSError as error:
            raise DataError(
                f"{self._path}: no record was added: {error.strerror or error}"
            ) from error
        self._begun = True

    def _refuse_another(self, old: TraceHeader, new: TraceHeader) -> None:
        for name, was, now in (
            ("rule", repr(old.rule), repr(new.rule)),
            ("threshold", repr(float(old.threshold)), repr(float(new.threshold))),
            ("small model", _described(old.small), _described(new.small)),
        ):
            if was != now:
                raise DataError(
                    f"{self._path}: recorded under {name} {was}, this client has {now}; name"
                    " another file"
                )


def _write_whole(stream: FileIO, content: bytes) -> None:
    """Write at the end of a file, or leave it as it was: half a line would spoil a trace."""
    before = os.fstat(stream.fileno()).st_size
    written = 0
    try:
        while written < len(content):
            written += stream.write(content[written:])
    except OSError:
        # Not where another process has added to it meanwhile: that line is not ours to cut.
        if written and os.fstat(stream.fileno()).st_size == before + written:
            stream.truncate(before)
        raise


def _described(model: ModelInfo) -> str:
    return f"{model.name!r} of {model.parameters} parameters"


def _decode(path: Path, number: int, raw: msgspec.Raw, kind: type[L]) -> L:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}:{number}: not a valid {kind.__name__}: {error}") from error
