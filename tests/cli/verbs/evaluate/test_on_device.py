"""`escalade evaluate --artifact`: a model at several widths, its bytes and the calls it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from escalade.edge.artifact import load_manifest, program_digest
from escalade.edge.trace import read_trace, write_trace

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def widths(
    traces: dict[str, Path], tmp_path: Path, float_artifact: Path, int8_artifact: Path
) -> dict[str, tuple[Path, Path]]:
    """By width a trace and its artifact: int8 is wrong on half of the queries, float on a fifth."""
    found = {}
    for name, model, folder in (
        ("int8", "xent1", int8_artifact),
        ("float", "cat1", float_artifact),
    ):
        digest = program_digest(load_manifest(folder))
        header, records = read_trace(traces[model])
        device, cloud = header.tiers
        member = msgspec.structs.replace(device.members[0], program_sha256=digest)
        tiers = [msgspec.structs.replace(device, members=[member]), cloud]
        path = tmp_path / f"{name}.jsonl"
        write_trace(path, msgspec.structs.replace(header, tiers=tiers), records)
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
