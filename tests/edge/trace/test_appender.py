"""Traces that several writers add to, that were cut off, replaced, or are no files at all."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import small_traces
from small_traces import cloud, device, header, tier_answer
from virtual_clock import VirtualClock

from escalade.edge.base import lock_alone
from escalade.edge.errors import DataError, InUseError
from escalade.edge.trace import (
    Link,
    TraceAppender,
    TraceRecord,
    appender,
    read_trace,
    write_trace,
)
from escalade.edge.trace.lines import encode_line

DEVICE = device()
HEADER = header(DEVICE)


def record(identity: str, text: str = "a") -> TraceRecord:
    return small_traces.record(identity, tier_answer(text))


replaced = msgspec.structs.replace


def add(path: Path, *identities: str) -> None:
    trace = TraceAppender(path, HEADER)
    for identity in identities:
        trace.append(lambda: HEADER, record(identity))


def ids(path: Path) -> list[str]:
    return [one.id for one in read_trace(path).records]


WRITER = """
import sys, threading
from pathlib import Path
from test_appender import HEADER, record
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
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            },
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


def test_nobody_waits_forever_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    clock = VirtualClock()
    with path.open("wb") as one, path.open("wb") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"trace\.jsonl: is in use: another process is writing"):
            lock_alone(two.fileno(), path, wait_s=3.0, clock=clock)
        assert 3.0 <= clock.at_s < 3.1
        one.close()
        lock_alone(two.fileno(), path, wait_s=0.0, clock=clock)


class Together(VirtualClock):
    """A clock at which as many other threads as it is for begin at once."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._begin, self._seen = threading.Barrier(threads), {threading.get_ident()}

    def now_s(self) -> float:
        now_s = super().now_s()
        if threading.get_ident() not in self._seen:
            self._seen.add(threading.get_ident())
            self._begin.wait(10)
        return now_s


HOLDER = """
import fcntl, sys
with open(sys.argv[1], "ab") as stream:
    fcntl.flock(stream, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A trace that another process has, and how it is made to let go."""
    path = tmp_path / "trace.jsonl"
    add(path, "a")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield path, lambda: process.communicate(b"go\n")


def ask_beside_a_holder(trace: TraceAppender, *identities: str) -> list[str]:
    """What the threads of one client are told, each of its own record."""
    told: list[str] = []

    def ask(identity: str) -> None:
        with pytest.raises(InUseError) as error:
            trace.append(lambda: HEADER, record(identity))
        told.append(str(error.value))

    threads = [threading.Thread(target=ask, args=(one,)) for one in identities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_records_that_another_process_kept_out_go_with_the_next(
    held: tuple[Path, Callable[[], object]],
) -> None:
    path, let_go = held
    clock = Together(4)
    trace = TraceAppender(path, HEADER, clock=clock)
    told = ask_beside_a_holder(trace, "b", "c", "d", "e")
    assert len(told) == 4
    assert all("trace.jsonl: is in use: another process" in one for one in told)
    # All gave up when their ten seconds were over, none after another's.
    assert 10.0 <= clock.at_s < 10.1
    assert ids(path) == ["a"]
    let_go()
    trace.append(lambda: HEADER, record("f"))
    assert sorted(ids(path)[:-1]) == ["a", "b", "c", "d", "e"]
    assert ids(path)[-1] == "f"
    trace.close()
    assert len(ids(path)) == 6


def test_records_that_wait_are_added_at_the_end_where_the_file_is_free(
    held: tuple[Path, Callable[[], object]],
) -> None:
    path, let_go = held
    lost = TraceAppender(path, HEADER, clock=VirtualClock())
    kept = TraceAppender(path, HEADER, clock=VirtualClock())
    assert len(ask_beside_a_holder(lost, "lost")) == 1
    assert len(ask_beside_a_holder(kept, "b")) == 1
    lost.close()
    let_go()
    kept.close()
    assert ids(path) == ["a", "b"]


def test_records_that_wait_have_a_bound_and_one_that_is_refused_is_let_go(
    held: tuple[Path, Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, let_go = held
    monkeypatch.setattr(appender, "_MOST_KEPT", 2)
    trace = TraceAppender(path, HEADER, clock=VirtualClock())
    strange = msgspec.structs.replace(record("b"), answered_by=1)
    for one in (strange, record("c")):
        with pytest.raises(InUseError):
            trace.append(lambda: HEADER, one)
    with pytest.raises(DataError, match="no record was added: 2 wait for it"):
        trace.append(lambda: HEADER, record("d"))
    let_go()
    trace.append(lambda: HEADER, record("e"))
    assert ids(path) == ["a", "c", "e"]


def test_a_writer_waits_for_the_one_before_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    add(path, "a")
    half = encode_line(record("b"))
    with path.open("ab", buffering=0) as slow:
        lock_alone(slow.fileno(), path)
        slow.write(half[:20])
        late = threading.Thread(target=add, args=(path, "c"))
        late.start()
        slow.write(half[20:])
    late.join()
    assert ids(path) == ["a", "b", "c"]


def test_of_many_threads_one_asks_for_the_files_lock_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty that try it again and again would keep it from one of them for ever."""
    path, asking, most = tmp_path / "trace.jsonl", Counter[str](), Counter[str]()
    add(path, "a")
    trace, entered, lock = TraceAppender(path, HEADER), threading.Event(), threading.Lock()

    def noted(descriptor: int, name: Path, **waiting: Any) -> None:
        with lock:
            asking["now"] += 1
            most["now"] = max(most["now"], asking["now"])
        entered.set()
        lock_alone(descriptor, name, **waiting)
        with lock:
            asking["now"] -= 1

    monkeypatch.setattr(appender, "lock_alone", noted)
    with path.open("ab", buffering=0) as slow:
        lock_alone(slow.fileno(), path)
        writers = [
            threading.Thread(target=trace.append, args=(lambda: HEADER, record(str(number))))
            for number in range(8)
        ]
        for writer in writers:
            writer.start()
        assert entered.wait(10)
        writers[-1].join(0.1)
    for writer in writers:
        writer.join()
    assert most["now"] == 1
    assert sorted(ids(path)) == [*map(str, range(8)), "a"]
