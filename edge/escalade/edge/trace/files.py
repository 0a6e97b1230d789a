"""Trace files: JSON Lines, a header and a record for each query; knows no model, no network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from escalade.edge.base import UNDECODABLE, Digest, atomic_write, counted, iter_jsonl
from escalade.edge.errors import DataError
from escalade.edge.trace.lines import decode_line, encode_line
from escalade.edge.trace.schema import (
    TRACE_SCHEMA,
    MemberAnswer,
    TierInfo,
    Trace,
    TraceHeader,
    TraceRecord,
)
from escalade.edge.trace.schema1 import converted, header_of_1, record_of_1

T = TypeVar("T")

_HEADER, _RECORD = "TraceHeader", "TraceRecord"

#: Makes what a line holds from the line.
Decode = Callable[[msgspec.Raw], T]
#: Keeps records as they come: all of them, or some.
Gather = Callable[[Iterable[TraceRecord]], list[TraceRecord]]


class _Head(msgspec.Struct):
    schema: int


def _head(raw: msgspec.Raw) -> int:
    return msgspec.json.decode(raw, type=_Head).schema


def _header(raw: msgspec.Raw) -> TraceHeader:
    header = decode_line(raw, TraceHeader)
    if not header.tiers:
        raise msgspec.ValidationError("at least 1 tier is needed")
    return header


def read_trace(
    path: Path,
    digest: Digest | None = None,
    gather: Gather = list,
    on_torn: Callable[[int], None] = lambda number: None,
) -> Trace:
    """Read a trace; one of schema 1 is converted.

    A last line that is half there (a power cut leaves such, and so does whoever is writing it at
    this moment) is taken as not there.

    Args:
        path: the file; what can be read only once, such as a pipe, is read once.
        digest: updated with every byte that was read.
        gather: gives the records to keep; every one is checked.
        on_torn: told the number of such a last line.

    Raises:
        DataError: missing, empty, of another schema, or a malformed line (named).
    """
    lines = iter_jsonl(path, msgspec.Raw, digest, on_torn=on_torn)
    number, first, header = begin(path, lines)
    if header is None:
        old = _decoded(path, number, first, header_of_1, _HEADER)
        whole = converted(old, [_decoded(path, n, raw, record_of_1, _RECORD) for n, raw in lines])
        trace = Trace(whole.header, gather(whole.records))
    else:

        def record(raw: msgspec.Raw) -> TraceRecord:
            found = decode_line(raw, TraceRecord)
            check_record(found, header)
            return found

        trace = Trace(header, gather(_decoded(path, n, raw, record, _RECORD) for n, raw in lines))
    if not trace.records:
        raise DataError(f"{path}: no records; at least 1 query is needed")
    return trace


def read_traces(path: Path) -> list[Trace]:
    """Read a trace, or every trace of a folder, from the one that was begun first.

    Args:
        path: a file, or a folder of `.jsonl` files; names that begin with a dot are left out.

    Raises:
        DataError: there is none, or see `read_trace`.
    """
    if not path.is_dir():
        return [read_trace(path)]
    files = sorted(one for one in path.glob("*.jsonl") if not one.name.startswith("."))
    if not files:
        raise DataError(f"{path}: no .jsonl file there; at least 1 trace is needed")
    return sorted(map(read_trace, files), key=lambda trace: trace.header.created)


def begin(
    path: Path, lines: Iterator[tuple[int, msgspec.Raw]]
) -> tuple[int, msgspec.Raw, TraceHeader | None]:
    """Read the first line of a trace.

    Returns:
        The line's number, its content, and what it says; None of schema 1.

    Raises:
        DataError: there is none, it is no header, or one of a newer schema.
    """
    try:
        number, first = next(lines)
    except StopIteration:
        raise DataError(f"{path}: empty; the first line of a trace is its header") from None
    schema = _decoded(path, number, first, _head, _HEADER)
    if schema not in {1, TRACE_SCHEMA}:
        raise DataError(f"{path}: trace schema {schema}; this version reads 1 and {TRACE_SCHEMA}")
    header = None if schema == 1 else _decoded(path, number, first, _header, _HEADER)
    return number, first, header


def write_trace(path: Path, header: TraceHeader, records: Iterable[TraceRecord]) -> int:
    """Write a trace as the records come, aside and renamed at the end; returns how many."""
    count = 0
    with atomic_write(path) as stream:
        stream.write(encode_line(header))
        for record in records:
            stream.write(encode_line(record))
            count += 1
    return count


def check_record(record: TraceRecord, header: TraceHeader) -> None:
    """Hold a record against its header.

    Raises:
        ValidationError: it has other tiers or members, or no answer where one is to stand.
    """
    wrong = None
    if len(record.tiers) != len(header.tiers):
        wrong = f"{counted(len(record.tiers), 'tier')}, the header has {len(header.tiers)}"
    elif record.answered_by >= len(record.tiers) or record.tiers[record.answered_by] is None:
        wrong = f"answered_by is {record.answered_by}, and that tier has no answer"
    else:
        for answer, tier in zip(record.tiers, header.tiers, strict=True):
            # Who answers elsewhere may not have been known when the trace began.
            count = len(tier.members) or (0 if tier.place == "device" else sys.maxsize)
            if answer is not None and not _fits(answer.members, count):
                wrong = f"tier {tier.name!r}: members must be 1 or more of {len(tier.members)}"
            elif answer is not None and tier.members:
                wrong = wrong or _wrong_models(answer.members, tier)
    if wrong is not None:
        raise msgspec.ValidationError(wrong)


def _fits(members: Sequence[MemberAnswer], count: int) -> bool:
    """Whether a tier's members are known to the header, each once."""
    places = [member.member for member in members]
    return bool(places) and len(set(places)) == len(places) and max(places) < count


def _wrong_models(members: Sequence[MemberAnswer], tier: TierInfo) -> str | None:
    """What is wrong with the models of members that are gateways."""
    for one in members:
        info = tier.members[one.member]
        if one.call is msgspec.UNSET or info.models is msgspec.UNSET or not one.call.models:
            continue
        if not _fits(one.call.models, len(info.models)):
            return (
                f"tier {tier.name!r}: member {one.member}: models must be 1 or more of"
                f" {len(info.models)}"
            )
    return None


def _decoded(path: Path, number: int, raw: msgspec.Raw, decode: Decode[T], name: str) -> T:
    try:
        return decode(raw)
    except UNDECODABLE as error:
        hint = "; a trace is what `escalade record` writes" if name == _HEADER else ""
        raise DataError(f"{path}:{number}: not a valid {name}: {error}{hint}") from error
