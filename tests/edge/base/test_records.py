"""Record files and traces: what is written reads back, and bad lines are named."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.base.records import Record, read_records, write_records
from escalade.edge.errors import DataError
from escalade.edge.trace.trace import (
    TRACE_SCHEMA,
    ModelInfo,
    SmallAnswer,
    TraceAppender,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
records = st.lists(
    st.builds(Record, id=text, task=text, prompt=text, references=st.lists(text, max_size=3)),
    min_size=1,
    max_size=8,
    unique_by=lambda record: record.id,
)


@given(records)
def test_records_read_back(tmp_path_factory: pytest.TempPathFactory, written: list[Record]) -> None:
    path = tmp_path_factory.mktemp("records") / "data.jsonl"
    assert write_records(path, written) == len(written)
    assert read_records(path) == written


GOOD = b'{"id": "a", "task": "t", "prompt": "p", "references": ["r"]}\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no records; at least 1"),
        (b"\n\n", "no records; at least 1"),
        (GOOD + b"{not json\n", ":2: not a valid record"),
        (GOOD + b'{"id": "b", "task": "t", "prompt": "p"}\n', "references"),
        (GOOD + b'{"id": 7, "task": "t", "prompt": "p", "references": []}\n', "`str`"),
        (b'{"id": "b", "task": "t", "prompt": "p", "references": [], "x": 1}\n', "`x`"),
        (GOOD + b"\n" + GOOD, ":3: id 'a' was already used on line 1"),
        (b'{"id": "\xff"}\n', ":1: not a valid record"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_records(path)
    assert says in str(caught.value)
    assert "data.jsonl" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl: cannot be read"):
        read_records(tmp_path / "nowhere.jsonl")


HEADER = TraceHeader(
    schema=TRACE_SCHEMA,
    small=ModelInfo(name="s", parameters=1),
    large=None,
    rule="mean",
    threshold=0.5,
    created="2026-01-01T00:00:00+00:00",
)


def _record(identity: str) -> TraceRecord:
    small = SmallAnswer(
        text="a",
        logprobs=[-0.5],
        prompt_tokens=1,
        generated_tokens=1,
        generate_s=0.1,
        correct=None,
    )
    return TraceRecord(
        id=identity,
        task="t",
        prompt="p",
        references=[],
        small=small,
        large=None,
        score=0.5,
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
        ({"rule": "min"}, "recorded under rule 'mean', this client has 'min'; name another file"),
        ({"threshold": 0.25}, "recorded under threshold 0.5, this client has 0.25; name"),
        (
            {"small": ModelInfo(name="s", parameters=2)},
            "recorded under small model 's' of 1 parameters, this client has 's' of 2 parameters",
        ),
    ],
)
def test_a_trace_takes_no_records_of_another_client(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, HEADER, [_record("a")])
    other = msgspec.structs.replace(HEADER, **changed)
    with pytest.raises(DataError) as caught:
        TraceAppender(path, other)
    assert str(caught.value).startswith(f"{path}: {says}")
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
    path.write_bytes(GOOD)
    with pytest.raises(DataError, match=":1: not a valid TraceHeader"):
        read_trace(path)
    with pytest.raises(DataError, match="not a valid TraceHeader"):
        TraceAppender(path, HEADER)
    assert path.read_bytes() == GOOD
