"""`escalade calibrate` and `escalade inspect` as a user meets them."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from small_traces import cloud, device, header, record, tier_answer

from escalade.edge.artifact import program_digest
from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Manifest,
    read_manifest,
    write_manifest,
)
from escalade.edge.artifact.memory import memory_needed
from escalade.edge.generation.artifact import Artifact
from escalade.edge.runtimes import onnx_session
from escalade.edge.runtimes.kernels import choose_kernels
from escalade.edge.trace import (
    TraceRecord,
    write_trace,
)

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def artifact(int8_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_artifact, tmp_path / "artifact"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    lines = [
        json.dumps({"id": w, "task": "g2p", "prompt": f"g2p: {w}", "references": ["x"]})
        for w in ("cat", "dog", "banana", "zebra", "apple", "pear")
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def trace(artifact: Path, tmp_path: Path) -> Path:
    """400 queries: the artifact's own answers; it is mostly right where it is surer."""
    opened = Artifact.open(artifact)
    generator = np.random.default_rng(1)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def answered(number: int) -> TraceRecord:
        word = "".join(letters[k] for k in generator.integers(26, size=4))
        ids = opened.encode(f"g2p: {word}")
        steps = opened.generate(ids, 6)
        logprobs = [step.logprob for step in steps]
        right = bool(generator.random() < np.exp(np.mean(logprobs)) ** 0.2)
        return record(
            str(number),
            tier_answer(opened.text_of(steps), logprobs, prompt_tokens=len(ids), correct=right),
            tier_answer("x", [], correct=bool(generator.random() < 0.97)),
            prompt=f"g2p: {word}",
            references=["x"],
            answered_by=1,
        )

    manifest = opened.manifest
    short = msgspec.structs.replace(manifest.model, max_new_tokens=6)
    path = artifact / MANIFEST_NAME
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, model=short)))
    small = device(0.0, program=program_digest(read_manifest(artifact)))
    out = tmp_path / "trace.jsonl"
    write_trace(out, header(small, cloud()), [answered(number) for number in range(400)])
    return out


def words(text: str) -> str:
    return " ".join(text.split())


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
        opened.answer_golden(msgspec.structs.replace(entry, token_ids=entry.token_ids[:3]))
        for entry in opened.manifest.golden
    ]
    write_manifest(artifact, msgspec.structs.replace(opened.manifest, golden=short))
    before = read_manifest(artifact)
    arguments = ["calibrate", artifact, "--data", data, *RATE]
    with monkeypatch.context() as on_arm:
        on_arm.setattr(platform, "machine", lambda: "aarch64")
        on_arm.setattr(onnx_session, "choose_kernels", other_kernels)
        code, out, err = invoke(*arguments, "--kernels", "kleidiai")
        assert code == 0
        golden = len(before.golden)
        assert f"kleidiai kernels leave {golden} of {golden} golden answers as they were" in words(
            err
        )
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
    assert "--kernels portable` sets a threshold for any" in words(err)
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
    assert (code, "set on 1 queries" in out) == (0, True)
    assert "none is left to check it on" in words(err)


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
    assert "with probability 0.95, at most 1 points" in out


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


@pytest.fixture
def cascade(artifact: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cascade.toml"
    path.write_text(
        "# at home\n"
        '[[tiers]]\nname = "small"\nmembers = ["artifact"]\n\n'
        '[[tiers]]\nname = "large"\naddress = "127.0.0.1:1"\ngenerated_price = 2\n'
    )
    return path


def test_a_cascade_is_set_from_a_trace_of_it(invoke: Invoke, cascade: Path, trace: Path) -> None:
    for arguments, said in (
        (["--target-deferral-rate", "0.3"], "goal: send on 30.0% at every gate"),
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
    assert "goal: most right answers at 0.25 calls of large a query" in words(out)


def test_inspect_says_what_may_leave(invoke: Invoke, cascade: Path) -> None:
    assert "policy" not in invoke("inspect", cascade)[1]
    assert json.loads(invoke("inspect", cascade, "--json")[1])["policy"] is None
    policy = """
        [policy]
        send = "ask"
        stay_tasks = ["diary"]
        stay_patterns = ['(?i)password']
        redact = ['[a-z]+@[a-z.]+']
        unmetered_only = true
        min_battery = 0.2
        daily = { calls = 2000, bytes = 0 }
        budget_file = "spent.sqlite"
    """
    cascade.write_text(cascade.read_text() + policy)
    code, out, _ = invoke("inspect", cascade)
    assert code == 0
    for line in (
        "send ask: the user is asked first",
        "stays: of the tasks diary",
        "stays: what matches (?i)password",
        "hidden: what matches [a-z]+@[a-z.]+",
        "only over an unmetered link",
        "not below 20% of the battery, unless it charges",
        "where a task, link or battery is not known it stays",
        "a day: at most 2,000 calls, 0 bytes, counted in spent.sqlite",
    ):
        assert line in words(out)
    found = json.loads(invoke("inspect", cascade, "--json")[1])["policy"]
    assert (found["send"], found["daily"]["calls"]) == ("ask", 2000)
    assert (found["when_unknown"], found["daily"]["money"]) == ("stay", None)


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
    assert (code, "6 queries, 0 not answered by every tier" in words(err)) == (0, True)
    code, out, _ = invoke("calibrate", path, "--trace", trace, "--target-deferral-rate", 0.34)
    assert (code, "artifact sends on 33.3%" in out) == (0, True)
    code, _, err = invoke("ask", path, "g2p: cat")
    assert code == 0
    code, out, _ = invoke("record", path, "--data", data, "--out", trace, "--json")
    assert json.loads(out)["deferred"] in range(7)


def test_without_tomlkit_it_is_said_before_the_work(
    invoke: Invoke, cascade: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cascade.read_bytes()
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    code, _, err = invoke("calibrate", cascade, "--trace", trace, *CALLS)
    assert code == 2
    assert "calibrate needs tomlkit: pip install 'escalade[calibration]'" in err
    assert cascade.read_bytes() == before


CALLS: list[Any] = ["--budget-calls", 0.5]


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
        (["--trace", "{trace}", *CALLS, "--seed", -1], "--seed must be at least 0, got -1"),
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


def test_inspect_says_everything_in_a_screen(invoke: Invoke, artifact: Path, trace: Path) -> None:
    code, out, err = invoke("inspect", artifact)
    assert (code, err) == (0, "")
    assert "rule mean, not calibrated" in out
    assert "signature not signed" in words(out)
    (artifact / SIGNATURE_NAME).write_text("{}")
    code, _, err = invoke(
        "calibrate", artifact, "--trace", trace, "--within", 0.1, "--early-miss-rate", 0.05
    )
    assert (code, "sign it again" in err) == (0, True)
    code, out, _ = invoke("inspect", artifact)
    assert code == 0
    assert len(out.splitlines()) <= 24
    for said in (
        "parameters, decoder",
        "onnx, int8",
        "tokenizer.json",
        "MiB when open",
        "tokens, at most 6 for the response",
        "guaranteed: with probability 0.9",
        "with early deferral off or certain",
        "checked on 200 queries",
        "likely to defer",
        "of 3 prompts with torch's tokens",
        "3 golden prompts",
        "with escalade",
        "unreadable signature",
    ):
        assert said in words(out)
    manifest = read_manifest(artifact)
    code, out, _ = invoke("inspect", artifact, "--json")
    shown = json.loads(out)
    assert msgspec.convert(shown["manifest"], type(manifest)) == manifest
    assert shown["memory"]["total"] == memory_needed(artifact, manifest).total
    assert shown["signature"] == "unreadable"
    assert shown["bytes"] == sum(entry.bytes for entry in manifest.files.values())


def test_a_manifest_moves_no_cursor(invoke: Invoke, artifact: Path) -> None:
    path = artifact / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["versions"]["evil"] = "\x1b[2J\x1b[H"
    manifest["quantization"]["detail"] = "line\nfeed"
    path.write_text(json.dumps(manifest))
    code, out, _ = invoke("inspect", artifact)
    assert code == 0
    assert "\x1b" not in out
    assert "line\\nfeed" in out


RATE: list[Any] = ["--target-deferral-rate", 0.5]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "{data}"], "give one goal: .* got 0"),
        (["--data", "{data}", *RATE, "--within", 0.1], "give one goal: .* got 2"),
        (RATE, "give --data or --trace"),
        (["--data", "{data}", "--trace", "{data}", *RATE], "give --data or --trace"),
        (["--data", "{data}", "--target-quality", 0.5], "give a trace of `escalade record`"),
        (["--data", "{data}", *RATE, "--seed", -1], "--seed must be at least 0, got -1"),
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


def test_what_is_not_an_artifact_is_not_inspected(invoke: Invoke, tmp_path: Path) -> None:
    code, out, err = invoke("inspect", tmp_path)
    assert (code, out) == (2, "")
    assert "not an artifact" in err
