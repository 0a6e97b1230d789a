"""Texts that every part writes alike."""

from __future__ import annotations

import datetime
import json

from escalade.edge.base import nearest, pretty_json, utc_now


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
