"""Expressions: what they find, what is refused, and that none of them hangs."""

from __future__ import annotations

import time

import pytest

from escalade.edge.errors import CascadeError
from escalade.edge.policy.patterns import (
    LONGEST_TEXT,
    SPANS_WITHIN_S,
    Patterns,
    UnreadableError,
)


def test_the_first_that_matches_is_named() -> None:
    patterns = Patterns([r"\bIBAN\b", r"(?i)é+"], "here")
    assert patterns.first_in(["nothing", ""]) is None
    assert patterns.first_in(["my IBAN"]) == 0
    assert patterns.first_in(["x", "cafÉ"]) == 1
    assert Patterns([], "here").first_in(["x" * (LONGEST_TEXT + 1)]) is None
    assert not Patterns([], "here")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(", "missing ): ("),
        ("a**", "bad repetition operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("(?=a)", "invalid perl operator"),
        ("a{1001}", "invalid repetition size"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_is_no_expression_is_refused_by_its_place(expression: str, said: str) -> None:
    with pytest.raises(CascadeError, match=r"policy\.redact\[1\]: ") as caught:
        Patterns(["fine", expression], "policy.redact")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("expression", [".{1000}", r"(?i)[\pL]{200}", "(.{30}){30}"])
def test_expressions_that_become_large_programs_are_refused(expression: str) -> None:
    with pytest.raises(CascadeError, match="at most 4096 instructions together, got"):
        Patterns([expression], "here")


# Each takes a backtracking engine longer than anybody waits.
EXPLODING = [
    "(a+)+$b", "(a|aa)+$c", "(a|a?)+$b", "(x+x+)+y", "(.*)*,(.*)*=z", r"(\w+\s?)*$c",
    "(?:[^@]+)+@c", "(?i)" + ".*a" * 200 + "z", "[ab]*a[ab]{900}c", "(?:a?){600}a{600}b",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPLODING)
def test_no_expression_hangs(expression: str) -> None:
    patterns = Patterns([expression], "here")
    began = time.process_time()
    for text in ("a" * LONGEST_TEXT, "ab" * (LONGEST_TEXT // 2), "é" * (LONGEST_TEXT // 2)):
        assert patterns.first_in([text]) is None
    # Twice the bound that patterns.py computes, for three texts, on a machine that others use.
    assert time.process_time() - began < 15


def test_texts_that_cannot_be_looked_through_are_told() -> None:
    patterns = Patterns(["a"], "here")
    with pytest.raises(UnreadableError, match=f"it has {LONGEST_TEXT + 2} bytes"):
        patterns.first_in(["é" * (LONGEST_TEXT // 2 + 1)])
    with pytest.raises(UnreadableError, match="no valid Unicode"):
        patterns.first_in(["a", "\ud800"])


def test_every_match_is_found_until_the_time_is_over() -> None:
    patterns = Patterns(["é.", "x*"], "here")
    assert list(patterns.spans("éa éb xx", lambda: 0.0)) == [(0, 2), (3, 5), (6, 8)]
    ticks = iter(range(1000))
    with pytest.raises(UnreadableError, match="matches"):
        list(Patterns(["a"], "here").spans("a" * 999, lambda: next(ticks) * SPANS_WITHIN_S / 9))
