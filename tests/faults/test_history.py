"""The model that a history of requests is held against: it sees what must not be."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from faults.history import Event, Oracle, Piece, Said, recovery_s, violations

TESTS = Path(__file__).parents[1]
ORACLE = Oracle(large={"x": Said((5, 6, 7), "right")}, small={"x": frozenset({"small"})})
ANSWERED = Event(
    number=0, client="one", prompt="x", began_s=1, ended_s=2, outcome="answered", text="right"
)
DEGRADED = replace(ANSWERED, number=1, outcome="degraded", text="small", reason="UNAVAILABLE")
REFUSED = replace(ANSWERED, number=2, outcome="refused", text="", reason="UNAVAILABLE")
STREAMED = replace(
    ANSWERED,
    number=3,
    pieces=(Piece(sequence=0, offset=0, ids=(5, 6)), Piece(sequence=1, offset=2, ids=(7,))),
)
HISTORY = [ANSWERED, DEGRADED, REFUSED, STREAMED]


def test_a_right_history_has_no_violation() -> None:
    assert violations(HISTORY, ORACLE, 4) == []


def pieces(*them: tuple[int, int, tuple[int, ...]]) -> tuple[Piece, ...]:
    return tuple(Piece(sequence=number, offset=at, ids=ids) for number, at, ids in them)


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (HISTORY[1:], "request 0: ended 0 times"),
        ([*HISTORY, REFUSED], "request 2: ended 2 times"),
        ([*HISTORY, replace(ANSWERED, number=9)], "request 9: was never made"),
        ([replace(ANSWERED, text="wrong"), *HISTORY[1:]], "answered 'wrong'"),
        ([ANSWERED, replace(DEGRADED, text="right"), *HISTORY[2:]], "degraded to 'right'"),
        ([*HISTORY[:2], replace(REFUSED, reason=""), STREAMED], "refused without a reason"),
        ([*HISTORY[:3], replace(STREAMED, pieces=pieces((1, 0, (5,))))], "has the number 1"),
        (
            [*HISTORY[:3], replace(STREAMED, pieces=pieces((0, 0, (5,)), (1, 2, (7,))))],
            "begins at token 2 where 1 had come",
        ),
        (
            [*HISTORY[:3], replace(STREAMED, pieces=pieces((0, 0, (5,)), (1, 0, (5,))))],
            "begins at token 0 where 1 had come",
        ),
        ([*HISTORY[:3], replace(STREAMED, pieces=pieces((0, 0, (6,))))], "does not begin"),
    ],
)
def test_what_must_not_be_is_seen(history: list[Event], said: str) -> None:
    assert any(said in one for one in violations(history, ORACLE, 4))


def test_recovery_is_until_an_answer_that_was_asked_for_after_the_fault() -> None:
    history = [ANSWERED, replace(ANSWERED, began_s=4, ended_s=4.5)]
    assert recovery_s(history, [0.5, 1.5, 9.0]) == [1.5, 3.0]


@pytest.mark.slow
def test_every_request_ends_as_it_should_whatever_fails() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "faults", "--requests", "400", "--json"],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    assert sum(found["outcomes"].values()) == 400
    assert found["faults"]
