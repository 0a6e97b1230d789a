"""`escalade calibrate` of one artifact: rates, bounds, routers, kernels, and mistakes."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import pytest

from escalade.edge.artifact import program_digest
from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
    write_manifest,
)
from escalade.edge.generation.artifact import Artifact
from escalade.edge.runtimes.onnx import session
from escalade.edge.runtimes.onnx.kernels import choose_kernels

Invoke = Callable[..., tuple[int, str, str]]


def test_a_rate_from_records(invoke: Invoke, artifact: Path, data: Path) -> None:
    code, out, _ = invoke("calibrate", artifact, "--data", data, "--target-deferral-rate", 0.34)
    assert code == 0
    assert "rule mean, threshold" in out
    assert "goal: defer 34.0%" in out
    assert "set on 3 queries: defers 33.3% (" in out
    assert "checked on 3 queries" in out
    deferral = read_manifest(artifact).deferral
    code, out, _ = invoke(
        "calibrate", artifact, "--data", data, "--target-deferral-rate", 0.34, "--json"
    )
    again = json.loads(out)
    assert again["threshold"] == deferral.threshold
    assert again["calibration"]["fit"]["deferral_rate"] == pytest.approx(1 / 3)
    assert again["calibration"]["goal"] == {"kind": "rate", "target": 0.34}


@pytest.mark.parametrize(
    ("rate", "limit", "says"),
    [
        (1, 6, "every one of these queries is deferred: no answer of the small model stands"),
        (0, 1, "none of these queries is deferred: the large model is never asked"),
        (0, 6, ""),  # of those that it is checked on, one is
        (0.34, 6, ""),
    ],
)
def test_a_threshold_that_sends_all_or_none_on_says_so(
    invoke: Invoke, artifact: Path, data: Path, rate: float, limit: int, says: str
) -> None:
    goal = ("--target-deferral-rate", rate, "--limit", limit)
    code, out, _ = invoke("calibrate", artifact, "--data", data, *goal)
    assert code == 0
    said = out.splitlines()[-1]
    assert said == says if says else said.startswith("checked on ")
    assert says in " ".join(invoke("inspect", artifact)[1].split())


def other_kernels(options: ort.SessionOptions, program: Path, manifest: Manifest) -> None:
    """In the place of Arm's: weights that are not laid out beforehand go through others here."""
    choose_kernels(options, program, manifest)
    if manifest.deferral.kernels == "kleidiai":
        options.add_session_config_entry("session.disable_prepacking", "1")


def test_kernels_of_arm_are_kept_with_the_threshold_that_they_gave(
    invoke: Invoke,
    artifact: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a processor that is called Arm's, with other kernels in the place of Arm's."""
    opened = Artifact.open(artifact)  # random weights: near ties fall otherwise in longer answers
    short = [
        opened.golden.answer(msgspec.structs.replace(entry, token_ids=entry.token_ids[:3]))
        for entry in opened.manifest.golden
    ]
    write_manifest(artifact, msgspec.structs.replace(opened.manifest, golden=short))
    before = read_manifest(artifact)
    arguments = ["calibrate", artifact, "--data", data, *RATE]
    with monkeypatch.context() as on_arm:
        on_arm.setattr(platform, "machine", lambda: "aarch64")
        on_arm.setattr(session, "choose_kernels", other_kernels)
        code, out, err = invoke(*arguments, "--kernels", "kleidiai")
        assert code == 0
        golden = len(before.golden)
        said = f"kleidiai kernels leave {golden} of {golden} golden answers as they were"
        assert said in " ".join(err.split())
        assert "computed with kleidiai kernels, on 64-bit Arm alone" in out
        chosen = read_manifest(artifact)
        assert chosen.deferral.kernels == "kleidiai"
        assert [each.token_ids for each in chosen.golden] == [
            each.token_ids for each in before.golden
        ]
        assert chosen.golden != before.golden  # of these kernels
        assert program_digest(chosen) != program_digest(before)
        code, _, err = invoke(*arguments)  # as before
        assert code == 0
        assert read_manifest(artifact).deferral.kernels == "kleidiai"
    code, out, err = invoke("ask", artifact, "g2p: cat")
    assert (code, out) == (2, "")
    assert "--kernels portable` sets a threshold for any" in " ".join(err.split())
    code, _, _ = invoke(*arguments, "--kernels", "portable")
    assert code == 0
    after = read_manifest(artifact)
    assert "kernels" not in json.loads((artifact / MANIFEST_NAME).read_text())["deferral"]
    assert program_digest(after) == program_digest(before)


def test_kernels_that_change_nothing_are_not_there(
    invoke: Invoke, artifact: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an Arm processor for which ONNX Runtime has none: it takes its own and says nothing."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    before = (artifact / MANIFEST_NAME).read_bytes()
    code, out, err = invoke("calibrate", artifact, "--data", data, *RATE, "--kernels", "kleidiai")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    golden = len(read_manifest(artifact).golden)
    assert f"kernels 'kleidiai' change no digit of {golden} golden answers" in line
    assert (artifact / MANIFEST_NAME).read_bytes() == before


def test_one_query_is_warned_of(invoke: Invoke, artifact: Path, data: Path) -> None:
    code, out, err = invoke("calibrate", artifact, "--data", data, *RATE, "--limit", 1)
    assert (code, "set on 1 query: " in out) == (0, True)
    assert "none is left to check it on" in " ".join(err.split())


def test_a_quality_and_a_bound_from_a_trace(invoke: Invoke, artifact: Path, trace: Path) -> None:
    code, out, _ = invoke(
        "calibrate", artifact, "--trace", trace, "--target-quality", 0.9, "--json"
    )
    assert code == 0
    assert json.loads(out)["calibration"]["fit"]["quality"] >= 0.9
    code, out, _ = invoke(
        "calibrate", artifact, "--trace", trace, "--within", 0.1, "--early-miss-rate", 0.05
    )
    assert code == 0
    assert "guaranteed: with probability 0.9, at most 10 points fewer right answers" in out
    assert "likely to defer: when the" in out
    assert "at most 5.00% of all queries are deferred by that alone" in out
    entry = read_manifest(artifact).deferral
    assert entry.calibration is not None
    assert entry.calibration.certified
    code, out, _ = invoke(
        "calibrate", artifact, "--trace", trace, "--within", 0.01, "--limit", 50, "--delta", 0.05
    )
    assert code == 0
    assert "NOT GUARANTEED, so every query is deferred" in out
    assert "with probability 0.95, at most 1 point fewer" in out
    assert "of these queries" not in out  # that line says it


def test_a_router_is_trained_on_queries_of_its_own(
    invoke: Invoke, artifact: Path, trace: Path
) -> None:
    code, out, _ = invoke(
        "calibrate", artifact, "--trace", trace, "--rule", "router", "--target-deferral-rate", 0.5
    )
    assert code == 0
    assert "rule router" in out
    assert "router trained on 200 queries" in out
    assert "set on 100 queries: defers 50.0%" in out
    assert read_manifest(artifact).deferral.router == "router.json"
    code, out, _ = invoke("calibrate", artifact, "--trace", trace, "--within", 0.2)
    assert code == 0
    assert "router trained on 200 queries" in out
    assert "set on 100 queries" in out
    code, out, _ = invoke("calibrate", artifact, "--trace", trace, "--within", 0.2, "--seed", 2)
    assert (code, "router trained on 200 queries" in out) == (0, True)
    code, out, _ = invoke("ask", artifact, "g2p: cat", "--json")
    assert code == 0
    assert np.isfinite(json.loads(out)["score"])
    code, out, _ = invoke("inspect", artifact)
    assert "router.json" in out


RATE: list[Any] = ["--target-deferral-rate", 0.5]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "{data}"], "give one goal: .* got 0"),
        (["--data", "{data}", *RATE, "--within", 0.1], "give one goal: .* got 2"),
        (RATE, "give --data or --trace"),
        (["--data", "{data}", "--trace", "{data}", *RATE], "give --data or --trace"),
        (["--data", "{data}", "--target-quality", 0.5], "give a trace of `escalade record`"),
        (
            ["--data", "{data}", *RATE, "--seed", -1],
            "'--seed': Input should be greater than or equal to 0, got '-1'",
        ),
        (["--data", "{data}", *RATE, "--rule", "router"], "a router is trained on a --trace"),
        (["--data", "{data}", *RATE, "--rule", "vote"], "rule must be one of .*, got 'vote'"),
        (["--data", "{data}", "--budget-calls", 0.5], "budgets and --cost are for a cascade.toml"),
        (["--data", "{data}", *RATE, "--cost", "flops"], "are for a cascade.toml"),
        (["--data", "{data}", "--target-deferral-rate", "0.1,0.2"], "is one number, got 0.1,0.2"),
        (["--data", "{data}", *RATE, "--rule", "quantil:0.4"], "quantile:Q"),
        (["--data", "{data}", "--target-deferral-rate", 1.3], r"must be in \[0, 1\], got 1.3"),
        (["--data", "{data}", *RATE, "--early-miss-rate", 0.01], "takes at least 230 queries"),
        (["--data", "{data}", *RATE, "--delta", 7], r"--delta must be in \(0, 1\), got 7"),
        (["--trace", "{data}", *RATE], "not a valid TraceHeader"),
        (["--trace", "{data}", *RATE, "--kernels", "portable"], "--kernels needs --data"),
        (["--data", "{data}", *RATE, "--kernels", "kleidiai"], "are of 64-bit Arm processors"),
    ],
)
def test_a_mistake_costs_one_line_and_changes_nothing(
    invoke: Invoke, artifact: Path, data: Path, arguments: list[Any], says: str
) -> None:
    before = (artifact / MANIFEST_NAME).read_bytes()
    names = {"data": str(data), "artifact": str(artifact)}
    code, out, err = invoke("calibrate", artifact, *(str(a).format(**names) for a in arguments))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert re.search(says, line)
    assert (artifact / MANIFEST_NAME).read_bytes() == before
