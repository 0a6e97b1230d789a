"""The outbox: against a plain model, whoever dies and whatever the time; and its file."""

from __future__ import annotations

import math
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from escalade.edge import Query, Sampling
from escalade.edge.errors import OutboxError
from escalade.edge.outbox import Entry, Kept, Outbox, OutboxOptions
from escalade.edge.tiers import Draft

LEASE_S, MOST, AGE_S = 10.0, 4, 100.0
TIERS = ("cloud",)


def kept(name: str, *, tier: str = "cloud", **query: Any) -> Kept:
    return Kept(
        query=Query(text=name, request_id=name, **query),
        tier=tier,
        draft=None,
        prompt=name,
        given="small answer",
        reason="UNAVAILABLE: nobody there",
    )


@dataclass
class Row:
    """What the model knows of a query."""

    name: str
    kept_at: float
    state: str = "waiting"
    answer: str | None = None
    settled_at: float = 0.0
    holder: int | None = None
    held_until: float = 0.0
    tries: int = 0


@dataclass
class Worker:
    """A process: its connection, and what it is at."""

    number: int
    outbox: Outbox
    at: Entry | None = None


@dataclass
class Model:
    rows: list[Row] = field(default_factory=list)

    def expire(self, now_s: float) -> None:
        self.rows = [
            row for row in self.rows if row.state == "waiting" or row.settled_at >= now_s - AGE_S
        ]
        for row in self.rows:
            if row.state == "waiting" and row.kept_at < now_s - AGE_S:
                row.state, row.settled_at, row.held_until = "refused", now_s, 0.0

    def named(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


class Machine(RuleBasedStateMachine):
    """Workers come, take a query, answer it, hand it out, or die at any of these."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now_s = 1000.0
        self.model, self.count = Model(), 0
        self.delivered: list[str] = []
        self.options = OutboxOptions(Path(self.folder.name) / "o", "here", MOST, AGE_S)
        self.reader = self.open()
        self.workers: list[Worker] = []

    def open(self) -> Outbox:
        return Outbox(self.options, now_s=lambda: self.now_s)

    def teardown(self) -> None:
        for one in [self.reader, *(worker.outbox for worker in self.workers)]:
            one.close()
        self.folder.cleanup()

    @rule(again=st.booleans())
    def add(self, again: bool) -> None:
        names = [row.name for row in self.model.rows]
        if not again or not names:
            self.count += 1
            names = [f"query {self.count}"]
        self.model.expire(self.now_s)
        known = self.model.named(names[0]) is not None
        if not known and len(self.model.rows) >= MOST:
            with pytest.raises(
                OutboxError, match="full: of queries and answers it holds at most 4"
            ):
                self.reader.add(kept(names[0]))
            return
        self.reader.add(kept(names[0]))
        if not known:
            self.model.rows.append(Row(names[0], self.now_s))

    @rule()
    def come(self) -> None:
        self.count += 1
        self.workers.append(Worker(self.count, self.open()))

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 9))
    def die(self, which: int) -> None:
        """Whatever it holds is held for the rest of its lease."""
        self.workers.pop(which % len(self.workers)).outbox.close()

    def worker(self, which: int, *, busy: bool) -> Worker | None:
        ready = [one for one in self.workers if (one.at is not None) is busy]
        return ready[which % len(ready)] if ready else None

    @rule(which=st.integers(0, 9))
    def claim(self, which: int) -> None:
        worker = self.worker(which, busy=False)
        if worker is None:
            return
        worker.at = worker.outbox.claim(str(worker.number), TIERS, LEASE_S)
        self.model.expire(self.now_s)
        free = [
            row
            for row in self.model.rows
            if row.holder != worker.number and row.held_until <= self.now_s
        ]
        free.sort(key=lambda row: (row.state == "waiting", row.tries))
        assert (worker.at is None) is (not free)
        if worker.at is not None:
            row = free[0]
            row.tries += row.state == "waiting"
            row.holder, row.held_until = worker.number, self.now_s + LEASE_S
            assert (worker.at.id, worker.at.state, worker.at.answer) == (
                *(row.name, row.state, row.answer),
            )

    @rule(which=st.integers(0, 9), how=st.sampled_from(["answered", "refused", "released"]))
    def end(self, which: int, how: str) -> None:
        worker = self.worker(which, busy=True)
        if worker is None or worker.at is None:
            return
        entry, me = worker.at, str(worker.number)
        row = self.model.named(entry.id)
        if entry.state != "waiting":
            worker.at = None
            worker.outbox.forget(entry, me)
            if row is not None and row.holder == worker.number:
                self.model.rows.remove(row)
                self.delivered.append(entry.id)
        elif how == "released":
            worker.at = None
            worker.outbox.release(entry, me, "still nobody there")
            if row is not None and row.holder == worker.number:
                row.held_until = 0.0
        else:
            text = f"by {me}" if how == "answered" else None
            if text is None:
                worker.at = worker.outbox.refuse(entry, "no", me, LEASE_S)
            else:
                worker.at = worker.outbox.answer(entry, text, "cloud", me, LEASE_S)
            if row is None or row.state != "waiting":
                assert worker.at is None  # somebody else has settled it, or time has
                return
            assert worker.at is not None
            row.state, row.answer, row.settled_at = how, text, self.now_s
            row.holder, row.held_until = worker.number, self.now_s + LEASE_S

    @rule(seconds=st.sampled_from([1.0, LEASE_S, AGE_S / 2, AGE_S + 1]))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def the_file_is_as_the_model(self) -> None:
        found = [(one.id, one.state, one.answer, one.tries) for one in self.reader.entries()]
        assert found == [(row.name, row.state, row.answer, row.tries) for row in self.model.rows]
        waiting = sum(row.state == "waiting" for row in self.model.rows)
        assert self.reader.waiting() == waiting

    @invariant()
    def nothing_is_handed_out_twice(self) -> None:
        assert len(set(self.delivered)) == len(self.delivered)


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutbox = Machine.TestCase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with Outbox(OutboxOptions(path, "here")) as outbox:
        yield outbox


def test_what_is_asked_again_is_what_was_asked(outbox: Outbox) -> None:
    draft = Draft([1, 2], [-math.inf, -0.5], "f" * 64, math.nan, 0.5, "mean")
    query = Query(
        messages=({"role": "user", "content": "naïve\n"},),
        sampling=Sampling(temperature=0.5, seed=3),
        stop=("\n",),
        max_new_tokens=5,
        request_id="one",
        references=("a", "b"),
    )
    outbox.add(
        Kept(query=query, tier="cloud", draft=draft, prompt="p", given="g", reason="UNAVAILABLE")
    )
    (entry,) = outbox.entries()
    work = outbox.work(entry)
    assert work.query == query
    assert work.draft is not None
    assert repr(work.draft) == repr(draft)  # nan is not equal to itself


def test_others_share_the_file_and_not_the_work(outbox: Outbox, path: Path) -> None:
    outbox.add(kept("a"))
    outbox.add(kept("b", tier="gateway"))
    with Outbox(OutboxOptions(path, "there")) as other:
        other.add(kept("c"))
        assert [one.id for one in other.entries()] == ["a", "b", "c"]
        assert other.waiting() == 1
        claimed = other.claim("me", ["cloud", "gateway"], LEASE_S)
        assert claimed is not None
        assert claimed.id == "c"
        assert other.claim("me", ["cloud", "gateway"], LEASE_S) is None
    mine = outbox.claim("me", TIERS, LEASE_S)
    assert mine is not None
    assert mine.id == "a"
    assert outbox.claim("me", TIERS, LEASE_S) is None  # b's tier is none of these


def test_a_clock_that_went_back_holds_nothing_for_long(path: Path) -> None:
    now = [1e9]
    with Outbox(OutboxOptions(path, "here"), now_s=lambda: now[0]) as outbox:
        outbox.add(kept("a"))
        assert outbox.claim("one", TIERS, LEASE_S) is not None
        now[0] -= 1.0
        assert outbox.claim("two", TIERS, LEASE_S) is None
        now[0] -= 3600.0
        assert outbox.claim("two", TIERS, LEASE_S) is not None


def test_the_file_is_its_owners_alone_and_keeps_what_a_power_cut_would_lose(
    outbox: Outbox, path: Path
) -> None:
    outbox.add(kept("a"))
    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600, one
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert outbox._base.file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert outbox._base.file.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    Outbox(OutboxOptions(path, "here")).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_cleared_cannot_be_read(outbox: Outbox, path: Path) -> None:
    for number in range(20):
        outbox.add(kept(f"secret {number}"))
    assert b"secret" in b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert outbox.clear() == 20
    assert outbox.entries() == []
    assert b"secret" not in b"".join(one.read_bytes() for one in path.parent.iterdir())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"no database, and longer than a header" * 99), "not a"),
        (lambda path: path.mkdir(), "unable to open"),
        (lambda path: _other_database(path, 0), "must be an outbox of version 1, got a database"),
        (lambda path: _other_database(path, 7), "got a database of version 7"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "other"
    make(path)
    with pytest.raises(OutboxError, match=says) as caught:
        Outbox(OutboxOptions(path, "here"))
    assert str(path) in str(caught.value)


def _other_database(path: Path, version: int) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.execute(f"PRAGMA user_version = {version}")
    other.close()


def test_a_path_with_a_nul_is_said() -> None:
    with pytest.raises(OutboxError, match="cannot be opened: embedded null byte"):
        Outbox(OutboxOptions(Path("a\0b"), "a"))


def test_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="file/outbox: cannot be opened: "):
        Outbox(OutboxOptions(tmp_path / "file" / "outbox", "here"))


def test_many_processes_may_make_it_at_once(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from escalade.edge.outbox import *\n"
        "from escalade.edge import Query\n"
        "name = sys.argv[2]\n"
        "with Outbox(OutboxOptions(Path(sys.argv[1]), 'here')) as outbox:\n"
        "    outbox.add(Kept(query=Query(text=name, request_id=name), tier='cloud', draft=None,"
        " prompt='p', given='g', reason='r'))\n"
    )
    names = [f"q{number}" for number in range(6)]
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in names]
    assert [one.wait(60) for one in running] == [0] * 6
    with Outbox(OutboxOptions(path, "here")) as outbox:
        assert sorted(one.id for one in outbox.entries()) == names


def test_what_is_none_of_ours_stays_as_it_was(tmp_path: Path) -> None:
    foreign, notes = tmp_path / "foreign.sqlite", tmp_path / "notes.txt"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    notes.write_text("not a database, and long enough to be read as the header of one" * 10)
    for path in (foreign, notes):
        path.chmod(0o644)
        before = path.read_bytes()
        with pytest.raises(OutboxError):
            Outbox(OutboxOptions(path, "a"))
        assert path.read_bytes() == before
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(tmp_path.iterdir()) == [foreign, notes]


@pytest.mark.parametrize(
    ("column", "value"),
    [("kept_at", 1e300), ("kept_at", "abc"), ("prompt", b"\xff\xfe"), ("tries", "many")],
)
def test_a_value_that_cannot_be_is_said(
    outbox: Outbox, path: Path, column: str, value: object
) -> None:
    outbox.add(kept("a"))
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE kept SET {column} = ?", (value,))  # noqa: S608 - a column of ours
    other.close()
    with pytest.raises(OutboxError, match=rf"query 'a': cannot be read: .*{column}"):
        outbox.entries()
