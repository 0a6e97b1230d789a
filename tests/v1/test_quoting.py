"""What somebody else wrote, in one line: short, printable, and recognizable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.v1.prompt_size import exceeds, longest_token_bytes, most_prompt_bytes
from escalade.v1.quoting import MOST_SHOWN, one_line, quoted


@settings(max_examples=50)
@given(st.text(max_size=60), st.integers(1, 10))
def test_whatever_is_shown_is_one_bounded_line(text: str, most: int) -> None:
    for shown in (quoted(text, most), one_line(text, most)):
        assert shown.isprintable()
        assert len(shown) <= 10 * most + 40


@pytest.mark.parametrize("text", ["plain", "ünï cödé 例", "it's"])
def test_what_is_short_and_plain_is_shown_as_it_is(text: str) -> None:
    assert quoted(text) == repr(text)
    assert one_line(text) == text


def test_what_is_cut_says_so() -> None:
    assert quoted("n" * 100) == repr("n" * 80) + "... (100 characters)"
    assert one_line("a\n\x1b[2J b") == r"a \x1b[2J b"
    assert one_line("n" * 10_000) == "n" * MOST_SHOWN + "..."


@given(st.text(max_size=50), st.integers(0, 200))
def test_bytes_are_counted_exactly(text: str, most: int) -> None:
    assert exceeds(text, most) == (len(text.encode()) > most)


def test_a_prompt_has_at_most_the_windows_tokens_each_the_longest() -> None:
    assert longest_token_bytes(["a", "\u2581the", "<0x0A>"]) == 6
    assert most_prompt_bytes(4096, 100) == 409_600
    assert most_prompt_bytes(96, 10) == 65_536
