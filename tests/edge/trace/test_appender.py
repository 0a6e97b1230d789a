"""Traces that several writers add to, that were cut off, replaced, or are no files at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from appended import DEVICE, HEADER, add, ids, record
from small_traces import cloud

from escalade.edge.errors import DataError
from escalade.edge.trace import (
    Link,
    TraceAppender,
    read_trace,
    write_trace,
)
from escalade.edge.trace.lines import encode_line

replaced = msgspec.structs.replace

WRITER = """
import sys, threading
from pathlib import Path
from appended import HEADER, record
from escalade.edge.trace import TraceAppender
path, name = Path(sys.argv[1]), sys.argv[2]
shared = TraceAppender(path, HEADER)
def add(trace, who):
    for number in range(20):
        trace.append(lambda: HEADER, record(f"{who}-{number}", "x" * 5000 * (number % 3)))
writers = [threading.Thread(target=add, args=(trace, f"{name}-{k}"))
           for k, trace in enumerate([shared, shared, TraceAppender(path, HEADER)])]
print("ready", flush=True)
sys.stdin.readline()
for one in writers: one.start()
for one in writers: one.join()
"""


def test_processes_and_threads_that_begin_one_trace_write_one_header_and_whole_lines(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trace.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"go\n")
        assert writer.returncode == 0
    assert path.read_bytes().count(b'"schema"') == 1
    assert sorted(ids(path)) == sorted(
        f"{name}-{thread}-{number}"
        for name in range(3)
        for thread in range(3)
        for number in range(20)
    )


LINE = encode_line(record("torn"))


@pytest.mark.parametrize(
    "tail", [LINE[:1], LINE[:50], LINE[:-2], b"\0" * 40, LINE[:9] + b"\0" * 9, "é".encode()[:1]]
)
def test_a_line_that_a_power_cut_left_is_not_there_and_goes_with_the_next(
    tmp_path: Path, tail: bytes
) -> None:
    path = tmp_path / "trace.jsonl"
    add(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert ids(path) == ["a", "b"]
    add(path, "c")
    assert path.read_bytes() == whole + encode_line(record("c"))


def test_a_line_that_lacks_its_end_alone_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    add(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-1])
    assert ids(path) == ["a", "b"]
    add(path, "c")
    assert ids(path) == ["a", "b", "c"]
    path.write_bytes(encode_line(HEADER)[:-1])
    add(path, "d")
    assert ids(path) == ["d"]


@pytest.mark.parametrize("length", [1, 5, 40, -2])
def test_a_torn_header_is_begun_again(tmp_path: Path, length: int) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(encode_line(HEADER)[:length])
    add(path, "a")
    assert path.read_bytes() == encode_line(HEADER) + encode_line(record("a"))


@pytest.mark.parametrize(
    "content", [b"my diary", b'{"a": 1}', b'{"schema": 7}\n', b'{"id": "a"', b"[\n]\n"]
)
def test_somebody_elses_file_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(DataError, match="notes"):
        TraceAppender(path, HEADER)
    path.unlink()
    late = TraceAppender(path, HEADER)
    path.write_bytes(content)
    with pytest.raises(DataError, match="notes"):
        late.append(lambda: HEADER, record("a"))
    assert path.read_bytes() == content


def test_a_torn_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(encode_line(HEADER) + LINE[:30] + b"\n" + LINE)
    with pytest.raises(DataError, match=":2: not a valid record"):
        read_trace(path)


def test_a_trace_that_was_moved_away_or_emptied_is_begun_again(tmp_path: Path) -> None:
    path, moved = tmp_path / "trace.jsonl", tmp_path / "trace.jsonl.1"
    trace = TraceAppender(path, HEADER)
    trace.append(lambda: HEADER, record("a"))
    path.rename(moved)
    trace.append(lambda: HEADER, record("b"))
    path.write_bytes(b"")
    trace.append(lambda: HEADER, record("c"))
    assert (ids(moved), ids(path)) == (["a"], ["c"])


def test_another_cascades_trace_in_the_place_of_ours_is_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = TraceAppender(path, HEADER)
    trace.append(lambda: HEADER, record("a"))
    other = msgspec.structs.replace(DEVICE, threshold=0.25)
    write_trace(path, msgspec.structs.replace(HEADER, tiers=[other]), [record("b")])
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"threshold of tier 'device' 0\.25"):
        trace.append(lambda: HEADER, record("c"))
    assert path.read_bytes() == before


def test_a_record_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    """A server of other members than the header's: who answers elsewhere may change."""
    path = tmp_path / "trace.jsonl"
    far = cloud("far")
    header = msgspec.structs.replace(HEADER, tiers=[DEVICE, far])
    (near,) = record("a").tiers
    assert near is not None
    (member,) = near.members
    said = [
        msgspec.structs.replace(near, members=[msgspec.structs.replace(member, member=place)])
        for place in (0, 1)
    ]
    known, unknown = (
        msgspec.structs.replace(record("a"), tiers=[near, one], answered_by=1) for one in said
    )
    trace = TraceAppender(path, header)
    for _ in range(2):
        with pytest.raises(DataError, match="begun by another cascade: tier 'far': members must"):
            trace.append(lambda: header, unknown)
        trace.append(lambda: header, known)
    assert read_trace(path).records == [known, known]


def test_a_trace_takes_no_answers_of_other_models_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    one, other = (cloud("far", model=name) for name in ("large", "larger"))
    unknown = msgspec.structs.replace(HEADER, tiers=[DEVICE, replaced(one, members=[])])
    ours, theirs = (msgspec.structs.replace(HEADER, tiers=[DEVICE, far]) for far in (one, other))
    (near,) = record("a").tiers
    assert near is not None
    link = Link(round_trip_s=0.1, server_s=0.1, bytes_up=1, bytes_down=1)
    answered = replaced(record("a"), tiers=[near, replaced(near, link=link)], answered_by=1)
    TraceAppender(path, unknown).append(lambda: ours, answered)
    late = TraceAppender(path, unknown)
    with pytest.raises(DataError, match="tier 'far' 'large' of 9 .* this client has 'larger'"):
        late.append(lambda: theirs, answered)
    # What did not cross the link says nothing of who is there.
    late.append(lambda: theirs, replaced(record("b"), tiers=[near, None]))
    assert ids(path) == ["a", "b"]


def test_a_pipe_gets_one_header_and_every_record(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)  # so that no writer waits for a reader
    try:
        add(path, "a", "b")
        said = os.read(keep, 1 << 16)
    finally:
        os.close(keep)
    assert said == encode_line(HEADER) + b"".join(encode_line(record(one)) for one in "ab")


def test_a_link_is_added_to_and_stays(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    add(link, "a")
    add(link, "b")
    assert link.is_symlink()
    assert ids(target) == ["a", "b"]
