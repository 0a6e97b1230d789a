"""`escalade evaluate` as a user meets it: models, rules, costs, and what its tables say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.deferral import Router

Invoke = Callable[..., tuple[int, str, str]]


def test_two_models_as_json(evaluate: Invoke, traces: dict[str, Path]) -> None:
    code, out, err = evaluate(
        traces["xent1"], traces["cat1"], "--rule", "mean", "--rule", "quantile:0.4", "--by-task",
        "--metric", "exact-match", "--cost", "flops_per_query", "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["groups"] == {"xent1": 1, "cat1": 1}
    assert found["baseline"] == "xent1"
    assert found["rules"] == ["mean", "quantile:0.4"]
    assert found["metric"]["name"] == "exact-match"
    assert found["cost"]["name"] == "flops_per_query"
    assert [part["task"] for part in found["slices"]] == [None, "g2p", "p2g"]
    gain = found["slices"][0]["contrasts"][0]["area_gain"]
    assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_repeated_names_are_seeds_of_one_model(evaluate: Invoke, traces: dict[str, Path]) -> None:
    arguments = [f"{name[:-1]}={path}" for name, path in traces.items()]
    code, out, _ = evaluate(*arguments, "--baseline", "cat", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["groups"] == {"xent": 2, "cat": 2}
    contrast = found["slices"][0]["contrasts"][0]
    assert (contrast["group"], contrast["baseline"]) == ("xent", "cat")
    assert contrast["paired_seeds"]
    assert all(gain < 0 for gain in contrast["area_gain_by_seed"])


def test_stems_that_are_the_same_make_no_group(
    evaluate: Invoke, traces: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other" / "xent1.jsonl"
    other.parent.mkdir()
    other.write_bytes(traces["xent1"].read_bytes())
    _, out, _ = evaluate(traces["xent1"], other, "--json")
    assert json.loads(out)["groups"] == {str(traces["xent1"]): 1, str(other): 1}


def test_tables_say_what_is_saved_and_how_sure_that_is(
    evaluate: Invoke, traces: dict[str, Path]
) -> None:
    arguments = [f"{name[:-1]}={path}" for name, path in traces.items()]
    code, out, err = evaluate(*arguments, "--metric", "chrf", "--quality", "80", "--by-task")
    assert (code, err) == (0, "")
    first = out.splitlines()[0]
    assert first.startswith("cat against xent: saves ")
    assert "of the cost at 80.00" in first
    for said in (
        "All, 60 queries: chrF2", "g2p, 30 queries: chrF2", "of the oracle's gain", "Over seeds",
        "standard deviation", "20 bootstrap resamples", "chrF2: nrefs:1|case:mixed|eff:yes|nc:6",
    ):  # fmt: skip
        assert said in out, said


def test_a_router_is_one_more_rule(
    evaluate: Invoke, traces: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "router.json"
    # Its logit falls with the first token's probability.
    Router([(np.array([[-1.0, 0.0, 0.0]]), np.array([0.0]))]).save(path)
    code, out, _ = evaluate(traces["xent1"], "--router", path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["rules"] == ["recorded", "router"]
    (contrast,) = found["slices"][0]["contrasts"]
    assert (contrast["rule"], contrast["baseline_rule"]) == ("router", "recorded")
    assert contrast["area_gain"]["value"] != 0


def test_prices_make_money_a_cost(evaluate: Invoke, traces: dict[str, Path]) -> None:
    code, out, _ = evaluate(
        traces["xent1"],
        "--cost",
        "money",
        "--price",
        "large=1000000,0",
        "--gate",
        "device",
        "--json",
    )
    found = json.loads(out)
    assert code == 0
    assert (found["cost"]["unit"], found["gate"]) == ("USD", "device")
    # The large model reads 3 tokens of a query, and the small one is free.
    assert found["slices"][0]["curves"][0]["cost"][-1] == pytest.approx(3.0)
    arguments = ("--cost", "money", "--price-per-hour", "large=3600", "--gate", "device", "--json")
    code, out, _ = evaluate(traces["xent1"], *arguments)
    assert code == 0
    assert json.loads(out)["slices"][0]["curves"][0]["cost"][-1] > 0


def test_of_long_traces_the_same_queries_are_drawn_and_that_is_said(
    evaluate: Invoke, traces: dict[str, Path]
) -> None:
    code, out, _ = evaluate(traces["xent1"], traces["cat1"], "--sample", 25, "--json")
    found = json.loads(out)
    assert code == 0
    said = "25 of 60 queries, drawn by their ids with seed 1"
    assert found["notes"] == [f"xent1.jsonl: {said}", f"cat1.jsonl: {said}"]
    assert found["slices"][0]["queries"] == 25
    code, _, err = evaluate(traces["xent1"], "--sample", 0)
    assert (code, err) == (2, "error: the sample of a trace must be at least 1 query; got 0\n")
