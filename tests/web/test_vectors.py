"""What TypeScript is held to is what Python gives today."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from web_vectors import DEFERRAL, PROFILES, deferral_vectors, profiles, written


@pytest.mark.parametrize(("path", "make"), [(DEFERRAL, written), (PROFILES, profiles)])
def test_what_the_browser_is_held_to_is_of_the_code(path: Path, make: Callable[[], str]) -> None:
    assert path.read_text() == make(), "run `.venv/bin/python tests/web_vectors.py`"


def test_every_rule_is_among_them() -> None:
    from escalade.edge.deferral import RULES

    kept = json.loads(DEFERRAL.read_text())
    names = {rule["name"] for rule in kept["rules"]}
    assert names >= set(RULES)
    assert kept["router"]["name"] == "router"
    assert {one["rule"] for one in kept["early"]} == {*names, "router"}
    stops = [
        flag
        for one in deferral_vectors()["early"]  # type: ignore[attr-defined]
        for which in one["stops"].values()
        for flags in which.values()
        for flag in flags
    ]
    assert True in stops
    assert False in stops
