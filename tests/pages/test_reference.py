"""The reference page is of the code as it is now."""

from __future__ import annotations

from reference_page import JSON, PAGE, page, printing_calls


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run .venv/bin/python tests/reference_page.py"


def test_every_place_that_prints_json_is_on_it() -> None:
    assert len(JSON) == printing_calls()
