"""`escalade calibrate` of a cascade: its gates from a trace, and mistakes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Invoke = Callable[..., tuple[int, str, str]]


def test_a_cascade_is_set_from_a_trace_of_it(invoke: Invoke, cascade: Path, trace: Path) -> None:
    for arguments, said in (
        (["--target-deferral-rate", "0.3"], "goal: send on 30.0% at every gate"),
        (["--target-deferral-rate", "1"], "every one of these queries is sent on: no answer of"),
        (["--target-deferral-rate", "0"], "none of these queries is sent on: large is never asked"),
        (["--target-quality", 0.9], "goal: 90.0% right answers, at the least cost in FLOPs"),
        (["--budget-calls", 0.25], "goal: most right answers at 0.25 calls of large a query"),
        (["--budget-flops", 1e9], "goal: most right answers at 1e+09 FLOPs a query"),
        (["--within", 0.1], "guaranteed: with probability 0.9, at most 10 points fewer right"),
        (["--within", 0.01, "--limit", 50], "NOT GUARANTEED, so every query is deferred"),
    ):
        code, out, err = invoke("calibrate", cascade, "--trace", trace, *arguments)
        assert (code, err) == (0, "")
        assert out.startswith("after small: rule mean, threshold ")
        assert said in out
        assert "from trace.jsonl (sha256 " in out
        assert "large alone" in out or "calls of large" in out
        assert "checked on " in out
        assert ("of these queries" in out) == ("of these queries" in said)
    assert cascade.read_text().startswith("# at home\n")
    code, out, _ = invoke(
        "calibrate", cascade, "--trace", trace, "--budget-calls", 0.25, "--json", "--seed", 2
    )
    found = json.loads(out)
    assert (code, found["cost"], found["seed"]) == (0, "calls", 2)
    assert found["fit"]["gates"][0]["deferral_rate"] <= 0.25
    code, out, _ = invoke("inspect", cascade, "--json")
    assert json.loads(out)["tiers"][0]["threshold"] == found["thresholds"][0]
    assert json.loads(out)["tiers"][0]["members"][0]["pinned"] is True
    assert json.loads(out)["calibration"] == found
    code, out, _ = invoke("inspect", cascade)
    assert code == 0
    assert "goal: most right answers at 0.25 calls of large a query" in " ".join(out.split())


def test_from_an_uncalibrated_file_to_a_calibrated_one(
    invoke: Invoke, artifact: Path, float_artifact: Path, data: Path, tmp_path: Path
) -> None:
    path, trace = tmp_path / "cascade.toml", tmp_path / "recorded.jsonl"
    path.write_text(
        f'[[tiers]]\nmembers = ["artifact"]\n[[tiers]]\nmembers = ["{float_artifact}"]\n'
    )
    code, _, err = invoke("ask", path, "g2p: cat")
    assert (code, "not calibrated: run `escalade calibrate`" in err) == (2, True)
    code, _, err = invoke("record", path, "--data", data, "--out", trace)
    assert (code, "6 queries, 0 not answered by every tier" in " ".join(err.split())) == (0, True)
    code, out, _ = invoke("calibrate", path, "--trace", trace, "--target-deferral-rate", 0.34)
    assert (code, "artifact sends on 33.3%" in out) == (0, True)
    code, _, err = invoke("ask", path, "g2p: cat")
    assert code == 0
    code, out, _ = invoke("record", path, "--data", data, "--out", trace, "--json")
    assert json.loads(out)["deferred"] in range(7)


CALLS: list[Any] = ["--budget-calls", 0.5]


def test_without_tomlkit_it_is_said_before_the_work(
    invoke: Invoke, cascade: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cascade.read_bytes()
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    code, _, err = invoke("calibrate", cascade, "--trace", trace, *CALLS)
    assert code == 2
    assert "calibrate needs tomlkit: pip install 'escalade[calibration]'" in err
    assert cascade.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trace", "{trace}"], "give one goal: .* got 0"),
        (["--trace", "{trace}", *CALLS, "--within", 0.1], "give one goal: .* got 2"),
        (["--data", "{data}", *CALLS], "calibrated from a --trace, and takes no --data"),
        (CALLS, "calibrated from a --trace"),
        (["--trace", "{trace}", *CALLS, "--rule", "sum"], "its file names the rules"),
        (["--trace", "{trace}", "--target-deferral-rate", "0.1,0.2"], "must be 1; got 2"),
        (
            ["--trace", "{trace}", "--target-deferral-rate", "0.1,x"],
            "with commas between, got '0.1",
        ),
        (["--trace", "{trace}", "--target-deferral-rate", "2"], r"must be in \[0, 1\], got 2"),
        (["--trace", "{trace}", "--budget-calls", "-1"], "budget must be at least 0 and fin.*-1"),
        (["--trace", "{trace}", "--budget-flops", 1], "no thresholds keep the cost at 1 FLOPs a"),
        (["--trace", "{trace}", *CALLS, "--cost", "money"], "--budget-calls counts calls, and"),
        (["--trace", "{trace}", "--target-quality", 1], "give a quality of 1: the best is 0"),
        (["--trace", "{data}", *CALLS], "not a valid TraceHeader"),
        (
            ["--trace", "{trace}", *CALLS, "--seed", -1],
            "'--seed': Input should be greater than or equal to 0, got '-1'",
        ),
        (["--trace", "{trace}", *CALLS, "--cost", "joules"], "joules"),
    ],
)
def test_a_mistake_about_a_cascade_costs_one_line_and_changes_nothing(
    invoke: Invoke, cascade: Path, data: Path, trace: Path, arguments: list[Any], says: str
) -> None:
    before = cascade.read_bytes()
    names = {"data": str(data), "trace": str(trace)}
    code, out, err = invoke("calibrate", cascade, *(str(a).format(**names) for a in arguments))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert re.search(says, line)
    assert cascade.read_bytes() == before
