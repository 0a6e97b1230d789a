"""`escalade inspect`: what an artifact and a cascade say of themselves, calibrated or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    read_manifest,
)
from escalade.edge.artifact.memory import memory_needed

Invoke = Callable[..., tuple[int, str, str]]


def words(text: str) -> str:
    return " ".join(text.split())


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


def test_what_is_not_an_artifact_is_not_inspected(invoke: Invoke, tmp_path: Path) -> None:
    code, out, err = invoke("inspect", tmp_path)
    assert (code, out) == (2, "")
    assert "not an artifact" in err


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
