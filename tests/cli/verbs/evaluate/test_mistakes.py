"""A mistake at `escalade evaluate` costs one line that says what belongs there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from escalade.edge.trace import read_trace, write_trace

Invoke = Callable[..., tuple[int, str, str]]


MISTAKES: list[tuple[str, list[str], str]] = [
    ("metric", ["{xent1}", "--metric", "blue"], "got 'blue'; did you mean 'bleu'?"),
    ("rule", ["{xent1}", "--rule", "meen"], "rule must be one of recorded, mean,"),
    ("quantile", ["{xent1}", "--rule", "quantile:3"], "must be a number in [0, 1], got '3'"),
    ("cost", ["{xent1}", "--cost", "monee"], "got 'monee'; did you mean 'money'?"),
    ("no price", ["{xent1}", "--cost", "money"], "needs the price of at least 1 member"),
    ("negative", ["{xent1}", "--price", "large=-1,2"], "price of 'large' must be finite and >= 0"),
    ("no model", ["{xent1}", "--price", "larg=1,2"], "got 'larg'; did you mean 'large'?"),
    ("no numbers", ["{xent1}", "--price", "large=1"], "'large=1' is no price"),
    ("gate", ["{xent1}", "--gate", "cloud"], "got 'cloud' (the last, which has no gate)"),
    ("baseline", ["{xent1}", "--baseline", "xent"], "did you mean 'xent1'?"),
    ("quality", ["{xent1}", "--quality", "86"], "quality must be in [0, 1]"),
    ("resamples", ["{xent1}", "--resamples", "0"], "resamples must be in [1, 100000]; got 0"),
    ("file", ["{tmp}/nowhere.jsonl"], "nowhere.jsonl"),
    ("file of a group", ["a={tmp}/nowhere.jsonl"], "nowhere.jsonl"),
    ("router", ["{xent1}", "--router", "{tmp}/nowhere.json"], "nowhere.json"),
    ("twice", ["a={xent1}", "a={tmp}/../{tmp.name}/xent1.jsonl"], "xent1.jsonl: given twice"),
    ("large answers", ["{alone}"], "from tier 'cloud': the trace serves no sweep; record"),
    ("references", ["{bare}", "--metric", "per"], "60 of 60 records have no references"),
    ("strangers", ["{xent1}", "{other}"], "no query is in every trace"),
]


@pytest.mark.parametrize(
    ("arguments", "says"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_costs_one_line_and_exit_code_2(
    evaluate: Invoke, traces: dict[str, Path], tmp_path: Path, arguments: list[str], says: str
) -> None:
    header, records = read_trace(traces["xent1"])
    changed = {
        "alone": [msgspec.structs.replace(r, tiers=[r.tiers[0], None]) for r in records],
        "bare": [msgspec.structs.replace(r, references=[]) for r in records],
        "other": [msgspec.structs.replace(r, id=f"other {r.id}") for r in records],
    }
    paths = {**traces, "tmp": tmp_path}
    for name, kept in changed.items():
        paths[name] = tmp_path / f"{name}.jsonl"
        write_trace(paths[name], header, kept)
    report = tmp_path / "report.html"
    code, out, err = evaluate(*(a.format(**paths) for a in arguments), "--report", report)
    assert (code, out) == (2, "")
    assert not report.exists()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line
