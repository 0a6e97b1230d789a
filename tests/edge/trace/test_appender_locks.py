"""Who adds to a trace that another holds: waits, gives up, and adds what waited with the next."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from appended import HEADER, add, ids, record
from virtual_clock import VirtualClock

from escalade.edge.base import lock_alone
from escalade.edge.errors import DataError, InUseError
from escalade.edge.trace import (
    TraceAppender,
    appender,
)
from escalade.edge.trace.lines import encode_line


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
