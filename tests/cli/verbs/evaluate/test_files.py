"""What `escalade evaluate` writes: a page, figures, tables; and what it loads for them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

Invoke = Callable[..., tuple[int, str, str]]


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
        "heavy = {'matplotlib', 'matplotlib.pyplot', 'sacrebleu', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )

    def loaded(*arguments: object) -> str:
        words = [sys.executable, "-c", code, str(traces["xent1"]), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stderr.splitlines()[-1]

    assert loaded() == "[]"
    assert loaded("--figures", tmp_path) == "['matplotlib']"
