"""The one rule of where a stop text cuts, held against a reader of one character at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.v1.stop_text import find_stop, held_back

TEXTS = st.text("ab好", max_size=12)
STOPS = st.lists(st.text("ab好", min_size=1, max_size=4), max_size=3)


def read_slowly(text: str, stops: list[str]) -> int | None:
    """Where a reader of one character after the other stops."""
    for end in range(1, len(text) + 1):
        ending = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if ending:
            return end - max(ending)
    return None


@given(TEXTS, STOPS)
def test_it_is_the_one_that_is_whole_first(text: str, stops: list[str]) -> None:
    assert find_stop(text, stops) == read_slowly(text, stops)


@given(TEXTS, TEXTS, STOPS)
def test_more_text_moves_no_cut(text: str, more: str, stops: list[str]) -> None:
    found = find_stop(text, stops)
    if found is not None:
        assert find_stop(text + more, stops) == found
    else:
        shown = text[: len(text) - held_back(text, stops)]
        later = find_stop(text + more, stops)
        assert later is None or later >= len(shown)


@given(TEXTS, STOPS)
def test_no_more_is_held_back_than_must_be(text: str, stops: list[str]) -> None:
    held = held_back(text, stops)
    if find_stop(text, stops) is None and held:
        assert any(stop.startswith(text[-held:]) and len(stop) > held for stop in stops)


@pytest.mark.parametrize(
    ("text", "stops", "at"),
    [("", ["a"], None), ("ab", [], None), ("abcd", ["abcd", "bc"], 1), ("abc", ["c", "bc"], 1)],
)
def test_examples(text: str, stops: list[str], at: int | None) -> None:
    assert find_stop(text, stops) == at
