"""Texts that every part writes alike."""

from __future__ import annotations

import datetime
import json

from escalade.edge.base import nearest, one_line, pretty_json, utc_now


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


def test_what_another_program_says_is_one_line_that_steers_no_terminal() -> None:
    assert one_line(" no\n\tplace\r ") == "no place"
    assert one_line("\x1b[2J\u202egone") == "?[2J?gone"
    assert one_line("") == ""
    assert len(one_line("x" * 10_000)) == 300
