"""Texts that every part writes alike."""

from __future__ import annotations

import datetime
import json

import pytest

from escalade.edge.base import counted, nearest, pretty_json, utc_now


@pytest.mark.parametrize(
    ("count", "noun", "spec", "says"),
    [
        (1, "golden prompt", "", "1 golden prompt"),
        (0, "step", "", "0 steps"),
        (1.0, "point", ".4g", "1 point"),
        (0.5, "point", ".4g", "0.5 points"),
        (0.99999, "call", ".4g", "1 call"),
        (1, "query", ",", "1 query"),
        (2, "gateway", "", "2 gateways"),
        (2000, "query", ",", "2,000 queries"),
    ],
)
def test_a_noun_goes_with_its_number(count: float, noun: str, spec: str, says: str) -> None:
    assert counted(count, noun, spec) == says


def test_now_is_in_utc_and_whole_seconds() -> None:
    before = datetime.datetime.now(datetime.UTC)
    said = datetime.datetime.fromisoformat(utc_now())
    assert said.utcoffset() == datetime.timedelta(0)
    assert said.microsecond == 0
    assert -1.0 < (said - before).total_seconds() < 60.0


def test_json_for_people_is_json_and_ends_its_line() -> None:
    value = {"a": [1, None], "b": "ä"}
    assert json.loads(pretty_json(value)) == value
    assert pretty_json(value).decode().splitlines()[1] == '  "a": ['
    assert pretty_json(value).endswith(b"}\n")


def test_the_nearest_name_is_asked_for_and_a_far_one_is_not() -> None:
    assert nearest("meen", ["mean", "sum"]) == "; did you mean 'mean'?"
    assert nearest("zzzz", ["mean", "sum"]) == ""
    assert nearest("m" * 100_000, ["mean"]) == ""
