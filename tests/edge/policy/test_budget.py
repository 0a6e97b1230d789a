"""What was spent today, on a real disk: processes that share it, clocks that go back, kill -9."""

from __future__ import annotations

import datetime
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from escalade.edge.errors import BudgetError
from escalade.edge.policy import Spending
from escalade.edge.policy.guard.budget import Budget
from escalade.edge.policy.rules import Block
from escalade.edge.policy.table import DailyTable

MONDAY = datetime.date(2026, 3, 2)
DAY = datetime.timedelta(days=1)


class Calendar:
    def __init__(self) -> None:
        self.day = MONDAY

    def __call__(self) -> datetime.date:
        return self.day


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


def budget(path: Path, calendar: Calendar, calls: int = 2, cascade: str = "here") -> Budget:
    return Budget(path / "budget.sqlite", cascade, DailyTable(calls=calls), calendar)


def takes(one: Budget) -> bool:
    return not isinstance(one.take(Spending(calls=1)), Block)


def test_a_day_has_its_budget_whoever_opens_it(tmp_path: Path, calendar: Calendar) -> None:
    one, other = budget(tmp_path, calendar), budget(tmp_path, calendar)
    strange = budget(tmp_path, calendar, cascade="there")
    assert [takes(one), takes(other), takes(one), takes(other)] == [True, True, False, False]
    one.close()
    assert not takes(budget(tmp_path, calendar))
    assert takes(strange)  # another cascade's is its own
    calendar.day += DAY
    assert takes(other)
    assert other.spent() == Spending(calls=1)


def test_no_budget_is_had_twice_where_the_clock_goes_back(
    tmp_path: Path, calendar: Calendar
) -> None:
    one = budget(tmp_path, calendar)
    assert [takes(one), takes(one)] == [True, True]
    calendar.day += DAY
    assert takes(one)
    calendar.day -= DAY  # to a day that is used up
    assert not takes(one)
    assert one.spent() == Spending(calls=3)
    calendar.day -= 3 * DAY  # to one before any
    assert not takes(one)
    # And none is lost for good: what was spent is of the day that it was.
    calendar.day += DAY
    assert [takes(one), takes(one), takes(one)] == [True, True, False]


def test_a_clock_that_was_ahead_for_a_while_costs_one_day(
    tmp_path: Path, calendar: Calendar
) -> None:
    one = budget(tmp_path, calendar)
    calendar.day = datetime.date(2099, 1, 1)
    assert [takes(one), takes(one)] == [True, True]
    calendar.day = MONDAY
    assert not takes(one)
    calendar.day += DAY
    assert takes(one)


def test_what_a_call_took_counts_for_the_day_it_began(tmp_path: Path, calendar: Calendar) -> None:
    one = budget(tmp_path, calendar)
    day = one.take(Spending(calls=1, bytes=50))
    assert isinstance(day, str)
    calendar.day += DAY
    one.add(Spending(calls=-1, bytes=-50), day)
    assert one.spent() == Spending()
    one.add(Spending(tokens=5, money=0.5), day)
    assert one.spent() == Spending()
    calendar.day -= DAY
    assert one.spent() == Spending(tokens=5, money=0.5)


PROCESS = """
    import datetime, os, sys
    from pathlib import Path
    from escalade.edge.policy import Spending
    from escalade.edge.policy.guard.budget import Budget
    from escalade.edge.policy.table import DailyTable
    from escalade.edge.policy.rules import Block

    one = Budget(
        Path(sys.argv[1]), "here", DailyTable(calls=40), lambda: datetime.date(2026, 3, 2)
    )
    taken = 0
    for _ in range(40):
        taken += not isinstance(one.take(Spending(calls=1)), Block)
        print(taken, flush=True)
"""


def test_processes_share_one_budget(tmp_path: Path, calendar: Calendar) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(tmp_path / "budget.sqlite")]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(3)
    ]
    taken = [int(one.communicate(timeout=60)[0].split()[-1]) for one in running]
    assert sum(taken) == 40
    assert budget(tmp_path, calendar).spent() == Spending(calls=40)


def test_who_is_killed_in_the_middle_has_spent_it(tmp_path: Path, calendar: Calendar) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(tmp_path / "budget.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        said += map(int, process.stdout.read().split())
    spent = budget(tmp_path, calendar, calls=1000).spent()
    # All that it said it had, and at most the one that it could not say any more.
    assert spent.calls in {said[-1], said[-1] + 1}


def test_the_file_is_its_owners_alone(tmp_path: Path, calendar: Calendar) -> None:
    budget(tmp_path / "new", calendar)
    assert (tmp_path / "new" / "budget.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_a_budget_is_told_in_a_line(tmp_path: Path, calendar: Calendar) -> None:
    path = tmp_path / "budget.sqlite"
    path.write_text("a diary, say, that is longer than nothing at all" * 9)
    with pytest.raises(BudgetError, match="not a database"):
        budget(tmp_path, calendar)
    path.unlink()
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE mine (a)")
    with pytest.raises(BudgetError, match="must be a budget of version 1"):
        budget(tmp_path, calendar)
    path.unlink()
    path.mkdir()
    with pytest.raises(BudgetError, match="unable to open"):
        budget(tmp_path, calendar)
    with pytest.raises(BudgetError, match="cannot be opened"):
        Budget(Path("a\0b"), "here", DailyTable(calls=1), calendar)
    with pytest.raises(BudgetError, match="cannot be opened: "):
        Budget(Path("/dev/null/budget.sqlite"), "here", DailyTable(calls=1), calendar)
