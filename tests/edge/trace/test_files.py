"""Traces: what is written reads back, however it was written; nothing is half-written."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest

from escalade.edge.errors import DataError
from escalade.edge.trace import (
    TRACE_SCHEMA,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceAppender,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)

RECORD = b'{"id": "a", "task": "t", "prompt": "p", "references": ["r"]}\n'


def _tier(**changes: object) -> TierInfo:
    """A tier on the device, of one model."""
    tier = TierInfo(
        name="device",
        place="device",
        members=[MemberInfo(name="s", parameters=1)],
        rule="mean",
        threshold=0.5,
    )
    return msgspec.structs.replace(tier, **changes)


HEADER = TraceHeader(schema=TRACE_SCHEMA, tiers=[_tier()], created="2026-01-01T00:00:00+00:00")


def _record(identity: str) -> TraceRecord:
    member = MemberAnswer(
        member=0,
        text="a",
        logprobs=[-0.5],
        prompt_tokens=1,
        generated_tokens=1,
        seconds=0.1,
    )
    tier = TierAnswer(text="a", members=[member], score=0.5, correct=None, seconds=0.1)
    return TraceRecord(
        id=identity,
        task="t",
        prompt="p",
        references=[],
        tiers=[tier],
        answered_by=0,
        outcome="answered",
        total_s=0.1,
    )


def test_a_trace_reads_back_however_it_was_written(tmp_path: Path) -> None:
    whole, grown = tmp_path / "whole.jsonl", tmp_path / "grown.jsonl"
    made = [_record("a"), _record("b")]
    assert write_trace(whole, HEADER, made) == 2
    for record in made:
        TraceAppender(grown, HEADER).append(lambda: HEADER, record)
    assert grown.read_bytes() == whole.read_bytes()
    assert read_trace(whole) == (HEADER, made)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rule": "min"}, "rule of tier 'device' mean, this client has min; name another file"),
        ({"threshold": 0.25}, "threshold of tier 'device' 0.5, this client has 0.25; name"),
        (
            {"members": [MemberInfo(name="s", parameters=2)]},
            "tier 'device' 's' of 1 parameters, this client has 's' of 2 parameters; name",
        ),
    ],
)
def test_a_trace_takes_no_records_of_another_client(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, HEADER, [_record("a")])
    other = msgspec.structs.replace(HEADER, tiers=[_tier(**changed)])
    with pytest.raises(DataError) as caught:
        TraceAppender(path, other)
    assert str(caught.value).startswith(f"{path}: recorded under {says}")
    later = msgspec.structs.replace(HEADER, created="2026-02-02T00:00:00+00:00")
    TraceAppender(path, later).append(lambda: later, _record("c"))
    assert [record.id for record in read_trace(path).records] == ["a", "c"]


def test_a_record_that_does_not_fit_on_the_disk_leaves_the_trace_whole(tmp_path: Path) -> None:
    # A limit on the file's size stands for the full disk: the first part of a write succeeds.
    path = tmp_path / "trace.jsonl"
    write_trace(path, HEADER, [_record("a")])
    trace = TraceAppender(path, HEADER)
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, old[1]))
    try:
        with pytest.raises(DataError, match="no record was added: File too large"):
            trace.append(lambda: HEADER, _record("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert path.read_bytes() == before
    trace.append(lambda: HEADER, _record("c"))
    assert [record.id for record in read_trace(path).records] == ["a", "c"]


def test_a_trace_that_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield _record("a")
        raise RuntimeError("the cloud went away")

    with pytest.raises(RuntimeError):
        write_trace(tmp_path / "trace.jsonl", HEADER, broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_trace_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    newer = msgspec.structs.replace(HEADER, schema=TRACE_SCHEMA + 1)
    write_trace(path, newer, [_record("a")])
    with pytest.raises(DataError, match=f"schema {TRACE_SCHEMA + 1}; this version reads"):
        read_trace(path)


def test_records_are_not_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(RECORD)
    with pytest.raises(DataError, match=":1: not a valid TraceHeader"):
        read_trace(path)
    with pytest.raises(DataError, match="not a valid TraceHeader"):
        TraceAppender(path, HEADER)
    assert path.read_bytes() == RECORD
