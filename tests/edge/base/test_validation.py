"""What is said of decoded data that is wrong: place, range, value, in one line."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.base import Count, Finite, OpenShare, Positive, Share, explain


class Rate(msgspec.Struct, tag_field="kind", tag="rate", forbid_unknown_fields=True):
    target: Share


class Budget(msgspec.Struct, tag_field="kind", tag="budget", forbid_unknown_fields=True):
    target: Count


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    steps: Positive = 1
    few: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    wide: Annotated[int, msgspec.Meta(ge=-(2**40), le=2**40)] = 1
    speed: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0
    delta: OpenShare = 0.5
    dropout: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    level: Finite | None = None
    interval: tuple[Share, Share] = (0.0, 1.0)
    counts: list[Count] = []
    sizes: dict[str, Count] = {}
    kind: Literal["onnx", "executorch"] = "onnx"
    goal: Rate | Budget | None = None


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner = msgspec.field(default_factory=Inner)
    many: list[Inner] = []


def said(raw: object) -> str:
    """What is said of data read without types; the same is said of it as JSON."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(raw, Whole)
    message = explain(caught.value, raw, Whole)
    assert "\n" not in message
    return message


def said_of_json(raw: object) -> str:
    line = msgspec.json.encode(raw)
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(line, type=Whole)
    return explain(caught.value, line, Whole)


OUT_OF_RANGE: list[tuple[dict[str, object], str]] = [
    ({"steps": 0}, "steps must be at least 1, got 0"),
    ({"few": 10}, "few must be at least 1 and at most 9, got 10"),
    (
        {"wide": 2**41},
        "wide must be at least -1099511627776 and at most 1099511627776, got 2199023255552",
    ),
    ({"speed": 0.0}, "speed must be > 0, got 0.0"),
    ({"delta": 1}, "delta must be in (0, 1), got 1"),
    ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
    ({"interval": [0.5, 1.5]}, "interval[1] must be in [0, 1], got 1.5"),
    ({"counts": [1, 2, -3]}, "counts[2] must be at least 0, got -3"),
    ({"kind": "pickle"}, "kind must be one of executorch, onnx, got 'pickle'"),
    ({"goal": {"kind": "rate", "target": 2.0}}, "goal.target must be in [0, 1], got 2.0"),
    ({"goal": {"kind": "budget", "target": -1}}, "goal.target must be at least 0, got -1"),
]


@pytest.mark.parametrize(("inner", "message"), OUT_OF_RANGE)
def test_a_value_out_of_range_with_its_place_and_the_whole_range(
    inner: dict[str, object], message: str
) -> None:
    assert said({"inner": inner}) == said_of_json({"inner": inner}) == f"inner.{message}"
    assert said({"many": [{}, inner]}) == f"many[1].{message}"


def test_a_kind_that_is_none_of_those_there_are() -> None:
    raw = {"inner": {"goal": {"kind": "rates", "target": 0.5}}}
    message = "inner.goal.kind must be one of rate, budget, got 'rates'"
    assert said(raw) == said_of_json(raw) == message


def test_a_number_that_is_none() -> None:
    assert said({"inner": {"dropout": math.nan}}) == "inner.dropout must be in [0, 1), got nan"
    assert said({"inner": {"level": -math.inf}}) == "inner.level must be finite, got -inf"


UNKNOWN: list[tuple[object, str]] = [
    ({"iner": {}}, "Object contains unknown field `iner`; did you mean 'inner'?"),
    (
        {"many": [{"step": 1}]},
        "Object contains unknown field `step` - at `$.many[0]`; did you mean 'steps'?",
    ),
    ({"zzz": 1}, "Object contains unknown field `zzz`; known keys: inner, many"),
    (
        {"inner": {"goal": {"kind": "rate", "trget": 1}}},
        "Object contains unknown field `trget` - at `$.inner.goal`; did you mean 'target'?",
    ),
]


@pytest.mark.parametrize(("raw", "message"), UNKNOWN)
def test_an_unknown_key_with_the_nearest_that_is_known_there(raw: object, message: str) -> None:
    assert said(raw) == said_of_json(raw) == message


def test_a_key_that_looks_like_a_place_is_no_place() -> None:
    assert "unknown field" in said({"x` - at `$.inner": 1})


@pytest.mark.parametrize("length", [24, 25, 5000])
def test_a_long_key_is_cut_where_it_is_shown(length: int) -> None:
    shown = "z" * 24 + ("..." if length > 24 else "")
    assert said({"z" * length: 1}) == (
        f"Object contains unknown field `{shown}`; known keys: inner, many"
    )
    assert said({"many": [{"z" * length: 1}]}).startswith(
        f"Object contains unknown field `{shown}` - at `$.many[0]`"
    )


def test_anything_else_as_msgspec_says_it_with_the_value() -> None:
    wrong_type = {"inner": {"steps": "many"}}
    assert said(wrong_type) == "Expected `int`, got `str` - at `$.inner.steps`: 'many'"
    assert said({"inner": []}) == "Expected `object`, got `array` - at `$.inner`"
    assert said({"inner": {"sizes": {"a": -1}}}) == "Expected `int` >= 0 - at `$.inner.sizes[...]`"
    assert len(said({"inner": {"steps": "m" * 10_000}})) < 200


def test_json_that_breaks_off_after_the_value() -> None:
    line = b'{"inner": {"steps": 0}, "many": ['
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(line, type=Whole)
    assert explain(caught.value, line, Whole) == "Expected `int` >= 1 - at `$.inner.steps`"


@given(st.lists(st.integers(min_value=0), min_size=1), st.data())
def test_the_value_that_is_named_is_the_one_that_is_wrong(
    counts: list[int], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(counts) - 1))
    wrong = data.draw(st.integers(-(2**70), -1))
    counts[at] = wrong
    assert said({"inner": {"counts": counts}}) == (
        f"inner.counts[{at}] must be at least 0, got {wrong}"
    )
