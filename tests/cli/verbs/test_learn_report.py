"""Page and tables of `escalade learn`: of its own run, beside others, one line for a mistake."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

Invoke = Callable[..., tuple[int, str, str]]

STREAM = """
labels = ["odd", "even"]
[stream]
label = "right"
[expert]
kind = "column"
column = "said"
[[level]]
kind = "linear"
name = "linear"
buckets = 1024
[method]
kind = "cascade"
mu = {mu}
audit = 0.5
"""


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    words = np.random.default_rng(5).integers(0, 40, size=(300, 3))
    lines = [
        json.dumps({"text": f"w{a} w{b} w{c}", "said": int(a % 2), "right": int((a + b // 39) % 2)})
        for a, b, c in words.tolist()
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(lines) + "\n")
    for mu in (0.0005, 0.05):
        (tmp_path / f"{mu}.toml").write_text(STREAM.format(mu=mu))
    return path


def test_a_page_holds_a_run_against_others(invoke: Invoke, stream: Path, tmp_path: Path) -> None:
    other, out, page = tmp_path / "other", tmp_path / "run", tmp_path / "page.html"
    code, *_ = invoke("learn", str(tmp_path / "0.05.toml"), str(stream), str(other))
    assert code == 0
    arguments = (str(tmp_path / "0.0005.toml"), str(stream), str(out))
    code, said, err = invoke(
        "learn", *arguments, "--report", str(page), "--beside", str(other), "--json"
    )
    assert (code, err) == (0, "")
    last = json.loads(said.splitlines()[-1])
    source = page.read_text("utf-8")
    result = json.loads((out / "result.json").read_bytes())
    calls, right = result["tally"]["expert"]["calls"], result["measured"]["accuracy"]
    assert last["calls"] == calls
    assert f"run: 300 items, {calls} calls of the expert" in source
    assert f"accuracy {100 * right:.1f}%" in source
    assert "agreement with the expert" in source
    assert "Against other runs" in source
    before = page.read_bytes()
    code, said, _ = invoke("learn", *arguments, "--report", str(page), "--beside", str(other))
    assert (code, said.splitlines()[-1]) == (0, f"report: {page}")
    assert page.read_bytes() == before


def test_tables_have_every_number_of_each_run(invoke: Invoke, stream: Path, tmp_path: Path) -> None:
    other, out, told = tmp_path / "other", tmp_path / "run", tmp_path / "told"
    invoke("learn", str(tmp_path / "0.05.toml"), str(stream), str(other))
    arguments = (str(tmp_path / "0.0005.toml"), str(stream), str(out), "--tables", str(told))
    code, said, err = invoke("learn", *arguments, "--beside", str(other))
    assert (code, err) == (0, "")
    names = ("runs", "levels", "classes", "moments", "answered", "alarms")
    files = [str(told / f"{name}.{kind}") for name in names for kind in ("csv", "parquet")]
    assert said.splitlines()[-len(files) :] == [f"table: {one}" for one in files]
    tables = {name: pq.read_table(told / f"{name}.parquet").to_pylist() for name in names}
    for name, folder in (("run", out), ("other", other)):
        own = {key: [row for row in rows if row["run"] == name] for key, rows in tables.items()}
        result = json.loads((folder / "result.json").read_bytes())
        lines = (folder / "events.jsonl").read_text().splitlines()
        events = [one for one in map(json.loads, lines) if one["event"] == "figures"]
        (row,) = own["runs"]
        assert row["mu"] == result["configuration"]["method"]["mu"]
        assert row["calls"] == result["tally"]["expert"]["calls"]
        assert row["accuracy"] == result["measured"]["accuracy"]
        assert row["agreement_low"] == result["agreement"]["low"]
        (level,) = result["tally"]["levels"]
        assert [own["levels"][0][key] for key in ("level", "updates", "flops")] == [
            level[key] for key in ("name", "updates", "flops")
        ]
        assert {one["class"]: one["recall"] for one in own["classes"]} == result["measured"][
            "recall"
        ]
        assert [one["calls"] for one in own["moments"]] == [one["calls"] for one in events]
        assert [(one["level"], one["answered"]) for one in own["answered"]] == [
            (key, one["by"].get(key, 0)) for one in events for key in ("linear", "expert")
        ]


def test_each_run_has_a_name_of_its_own_and_every_folder_one(
    invoke: Invoke, stream: Path, tmp_path: Path
) -> None:
    out, same = tmp_path / "run", tmp_path / "other" / "run"
    strange = tmp_path / os.fsdecode(b"r\xff")
    invoke("learn", tmp_path / "0.05.toml", stream, same)
    shutil.copytree(same, strange)
    page, told = tmp_path / "page.html", tmp_path / "told"
    beside = ("--beside", same, "--beside", strange, "--report", page, "--tables", told)
    code, _, err = invoke("learn", tmp_path / "0.0005.toml", stream, out, *beside)
    assert (code, err) == (0, "")
    names = [row["run"] for row in pq.read_table(told / "runs.parquet").to_pylist()]
    assert names == [str(out), str(same), "r\\xff"]
    assert f"{same}<br>" in page.read_text("utf-8")


@pytest.mark.parametrize("holds", [None, b"{}", b"[]", b"no JSON"])
def test_a_folder_without_a_finished_run_is_named_before_the_work(
    invoke: Invoke, stream: Path, tmp_path: Path, holds: bytes | None
) -> None:
    other, out = tmp_path / "other", tmp_path / "run"
    other.mkdir()
    if holds is not None:
        (other / "result.json").write_bytes(holds)
        (other / "events.jsonl").write_bytes(b"")
    code, _, err = invoke(
        "learn", str(tmp_path / "0.05.toml"), str(stream), str(out),
        "--report", str(tmp_path / "page.html"), "--beside", str(other),
    )  # fmt: skip
    assert code == 2
    assert err.count("\n") == 1
    assert f"{other}: holds no finished run of `escalade learn`" in err
    assert not out.exists()


def test_other_runs_are_for_a_page_or_tables(invoke: Invoke, stream: Path, tmp_path: Path) -> None:
    code, _, err = invoke(
        "learn", str(tmp_path / "0.05.toml"), str(stream), str(tmp_path / "run"),
        "--beside", str(tmp_path),
    )  # fmt: skip
    assert code == 2
    assert "--beside is for page and tables: give --report or --tables too" in err


@pytest.mark.parametrize("option", ["--report", "--tables", "--beside"])
def test_a_language_model_has_no_stream_to_draw(
    invoke: Invoke, stream: Path, tmp_path: Path, option: str
) -> None:
    improving = tmp_path / "improve.toml"
    improving.write_text('kind = "generation"')
    out = tmp_path / "run"
    code, _, err = invoke("learn", improving, stream, out, option, tmp_path / "new")
    assert code == 2
    assert "--report, --tables and --beside are of streams, not of 'generation'" in err
    assert not out.exists()


@pytest.mark.parametrize(("alarms", "says"), [(1, "9 audited, 1 alarm)"), (2, "2 alarms)")])
def test_one_alarm_is_one(alarms: int, says: str) -> None:
    from escalade.cli.verbs.learn import _agreement
    from escalade.training.online import Agreement

    (line,) = _agreement(Agreement(estimate=0.9, low=0.8, high=1.0, audited=9, alarms=alarms))
    assert line.endswith(says)
