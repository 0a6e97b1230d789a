"""What TypeScript is held to is what Python gives today."""

from __future__ import annotations

import json

from web_vectors import DEFERRAL, deferral_vectors, written


def test_the_vectors_are_of_the_code() -> None:
    assert DEFERRAL.read_text() == written(), "run `.venv/bin/python tests/web_vectors.py`"


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
