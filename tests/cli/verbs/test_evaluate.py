"""`escalade evaluate` as a user meets it: groups, tables, files, and one line for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from escalade.edge.artifact import load_manifest, program_digest
from escalade.edge.deferral import Router
from escalade.edge.trace import (
    TRACE_SCHEMA,
    Link,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)

Invoke = Callable[..., tuple[int, str, str]]

HEADER = TraceHeader(
    schema=TRACE_SCHEMA,
    tiers=[
        TierInfo(
            name="device",
            place="device",
            members=[MemberInfo(name="small", parameters=100)],
            rule="mean",
            threshold=0.5,
        ),
        TierInfo(name="cloud", place="cloud", members=[MemberInfo(name="large", parameters=1000)]),
    ],
    created="2026-01-02T03:04:05Z",
)
QUERIES = 60


@pytest.fixture
def evaluate(invoke: Invoke) -> Invoke:
    """Run `escalade evaluate ARGUMENTS` with few resamples."""
    return partial(invoke, "evaluate", "--resamples", "20")


def record(k: int, rng: np.random.Generator, error_rate: float) -> TraceRecord:
    right = f"AA B K {k % 7} T"
    wrong = rng.random() < error_rate
    logprobs = (-rng.random(3) - (0.5 if wrong else 0.0)).tolist()
    device = TierAnswer(
        text="AA B" if wrong else right,
        members=[
            MemberAnswer(
                member=0,
                text="AA B" if wrong else right,
                logprobs=logprobs,
                prompt_tokens=3,
                generated_tokens=3,
                seconds=0.01,
                correct=not wrong,
            )
        ],
        score=float(-np.mean(logprobs)),
        correct=not wrong,
        seconds=0.01,
    )
    cloud = TierAnswer(
        text=right,
        members=[
            MemberAnswer(
                member=0,
                text=right,
                logprobs=[],
                prompt_tokens=3,
                generated_tokens=4,
                seconds=0.02,
                correct=True,
            )
        ],
        score=None,
        correct=True,
        seconds=0.03,
        link=Link(round_trip_s=0.03, server_s=0.02, bytes_up=100, bytes_down=80),
    )
    return TraceRecord(
        id=f"q{k}",
        task=("g2p", "p2g")[k % 2],
        prompt="x",
        references=[right],
        tiers=[device, cloud],
        answered_by=0,
        outcome="answered",
        total_s=0.01,
    )


@pytest.fixture
def traces(tmp_path: Path) -> dict[str, Path]:
    """xent is wrong on half of its queries, cat on a fifth; two seeds of each."""
    paths = {}
    for name, error_rate in (("xent", 0.5), ("cat", 0.2)):
        for seed in (1, 2):
            rng = np.random.default_rng(seed + 10 * len(name))
            path = paths[f"{name}{seed}"] = tmp_path / f"{name}{seed}.jsonl"
            write_trace(path, HEADER, [record(k, rng, error_rate) for k in range(QUERIES)])
    return paths


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


@pytest.fixture
def widths(
    tmp_path: Path, float_artifact: Path, int8_artifact: Path
) -> dict[str, tuple[Path, Path]]:
    """By width a trace and its artifact: int8 is wrong on half of the queries, float on a fifth."""
    found = {}
    for name, folder, error_rate in (("int8", int8_artifact, 0.5), ("float", float_artifact, 0.2)):
        digest = program_digest(load_manifest(folder))
        device, cloud = HEADER.tiers
        member = msgspec.structs.replace(device.members[0], program_sha256=digest)
        header = msgspec.structs.replace(
            HEADER, tiers=[msgspec.structs.replace(device, members=[member]), cloud]
        )
        path = tmp_path / f"{name}.jsonl"
        rng = np.random.default_rng(len(name))
        write_trace(path, header, [record(k, rng, error_rate) for k in range(QUERIES)])
        found[name] = (path, folder)
    return found


def test_widths_of_a_model_have_bytes_and_the_calls_they_leave(
    evaluate: Invoke, widths: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """Whatever the curve's cost is, calls are counted: those that this model gets wrong."""
    page, folder, told = tmp_path / "page.html", tmp_path / "figures", tmp_path / "told"
    given = [path for path, _ in widths.values()]
    for _, artifact in widths.values():
        given += ["--artifact", artifact]
    written = ("--report", page, "--figures", folder, "--tables", told)
    code, out, err = evaluate(*given, "--cost", "flops_per_query", "--json", *written)
    assert code == 0, err
    rows = {row["group"]: row for row in json.loads(out)["on_device"]}
    for name, (trace, artifact) in widths.items():
        row, records = rows[name], read_trace(trace).records
        assert row["bytes"] == sum(
            path.stat().st_size for path in artifact.iterdir() if path.name != "manifest.json"
        )
        assert row["seconds"] == pytest.approx(0.01)
        small = [one.tiers[0] for one in records]
        wrong = [one.score for one in small if not one.correct]
        least = np.mean([one.score >= min(wrong) for one in small])
        assert row["calls_to_match"]["value"] == pytest.approx(least)
        calls = row["calls_to_match"]
        assert calls["low"] <= calls["value"] <= calls["high"]
    assert rows["int8"]["bytes"] < rows["float"]["bytes"]
    assert (folder / "on-device.svg").exists()
    assert "calls to match large" in page.read_text()
    assert pq.read_table(told / "on_device.parquet").to_pylist() == [
        {
            **{key: row[key] for key in ("group", "bytes", "seconds")},
            **{
                f"{key}{end}": row[key][of]
                for key in ("small_quality", "calls_to_match")
                for end, of in (("", "value"), ("_low", "low"), ("_high", "high"))
            },
        }
        for row in rows.values()
    ]
    code, out, _ = evaluate(*given)
    assert code == 0
    assert "On the device" in out


def test_a_model_whose_artifact_was_not_given_is_named(
    evaluate: Invoke, widths: dict[str, tuple[Path, Path]]
) -> None:
    code, _, err = evaluate(widths["int8"][0], widths["float"][0], "--artifact", widths["float"][1])
    assert code == 2
    assert err.splitlines() == [
        "error: int8: no artifact of those given has the program of member 'small'"
    ]


def test_report_and_figures_are_written_and_named(
    evaluate: Invoke, traces: dict[str, Path], tmp_path: Path
) -> None:
    page, folder = tmp_path / "out" / "page.html", tmp_path / "figures"
    code, out, _ = evaluate(traces["xent1"], traces["cat1"], "--report", page, "--figures", folder)
    assert code == 0
    assert f"report: {page}" in out
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["a1-a2.png", "a1-a2.svg", "deferral-curve.png", "deferral-curve.svg"]
    for name in written:
        assert f"figure: {folder / name}" in out
    _, out, _ = evaluate(traces["xent1"], "--report", page, "--json")
    assert json.loads(out)["report"] == str(page)


def test_numbers_for_notebooks_are_those_of_json_under_the_same_names(
    evaluate: Invoke, traces: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "told"
    asked = [f"xent={traces[name]}" for name in ("xent1", "xent2")] + [f"cat={traces['cat1']}"]
    asked += ["--rule", "mean", "--rule", "max", "--by-task", "--tables", str(folder)]
    code, out, _ = evaluate(*asked)
    assert code == 0
    names = ("slices", "headlines", "contrasts", "seeds", "curves")
    written = [str(folder / f"{name}.{kind}") for name in names for kind in ("csv", "parquet")]
    assert [line for line in out.splitlines() if line.startswith("table: ")] == [
        f"table: {path}" for path in written
    ]
    found = json.loads(evaluate(*asked, "--json")[1])
    assert found["tables"] == written
    tables = {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in names}
    for name in ("headlines", "contrasts"):
        rows = [(part["task"], row) for part in found["slices"] for row in part[name]]
        for cells, (task, row) in zip(tables[name], rows, strict=True):
            assert cells.pop("task") == task
            for key, value in row.items():
                if isinstance(value, dict) and "value" in value:
                    assert cells.pop(key) == value["value"]
                    assert cells.pop(f"{key}_low") == value["low"]
                    assert cells.pop(f"{key}_high") == value["high"]
                elif not isinstance(value, dict | list):
                    assert cells.pop(key) == value
            assert cells == {}
    for cells, part in zip(tables["slices"], found["slices"], strict=True):
        assert cells == {key: part[key] for key in ("task", "queries", "quality", "budget")}
    curves = [(part["task"], curve) for part in found["slices"] for curve in part["curves"]]
    points = [
        {
            "task": task,
            **{key: value[k] if isinstance(value, list) else value for key, value in curve.items()},
        }
        for task, curve in curves
        for k in range(len(curve["deferral_rate"]))
    ]
    assert tables["curves"] == points
    seeds = [row for row in tables["seeds"] if (row["task"], row["number"]) == (None, "area")]
    spread = found["slices"][0]["headlines"][0]["over_seeds"]["area"]["by_seed"]
    assert [row["value"] for row in seeds if row["rule"] == "mean"] == spread
    assert (folder / "seeds.csv").read_text().startswith("task,group,rule,number,seed,value\n")


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
    rng = np.random.default_rng(0)
    records = [record(k, rng, 0.5) for k in range(QUERIES)]
    changed = {
        "alone": [msgspec.structs.replace(r, tiers=[r.tiers[0], None]) for r in records],
        "bare": [msgspec.structs.replace(r, references=[]) for r in records],
        "other": [msgspec.structs.replace(r, id=f"other {r.id}") for r in records],
    }
    paths = {**traces, "tmp": tmp_path}
    for name, kept in changed.items():
        paths[name] = tmp_path / f"{name}.jsonl"
        write_trace(paths[name], HEADER, kept)
    report = tmp_path / "report.html"
    code, out, err = evaluate(*(a.format(**paths) for a in arguments), "--report", report)
    assert (code, out) == (2, "")
    assert not report.exists()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_what_draws_is_loaded_only_when_asked_for(traces: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from escalade.cli.main import run\n"
        "run_with = sys.argv[1:]\n"
        "sys.argv = ['escalade', 'evaluate', '--resamples', '2', '--json', *run_with]\n"
        "try:\n"
        "    run()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = {'matplotlib', 'matplotlib.pyplot', 'plotly', 'sacrebleu', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )

    def loaded(*arguments: object) -> str:
        words = [sys.executable, "-c", code, str(traces["xent1"]), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stderr.splitlines()[-1]

    assert loaded() == "[]"
    assert loaded("--figures", tmp_path) == "['matplotlib']"


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
