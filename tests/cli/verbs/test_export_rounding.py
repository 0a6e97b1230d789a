"""How `escalade export` rounds, and says what that lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from escalade.edge.artifact import read_manifest

Invoke = Callable[..., tuple[int, str, str]]


def test_four_bits_are_rounded_by_text_of_the_model_unless_told_not_to(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    told = {}
    for name, how in (("own", ()), ("again", ()), ("nearest", ("--gptq", "none"))):
        code, out, err = invoke(
            "export", tiny_model_dir, tmp_path / name, "--quantize", "int4", "--json", *how
        )
        assert code == 0, err
        told[name] = json.loads(out)
        assert told[name]["lost"]["tokens"] > 100
    assert told["own"]["files"] == told["again"]["files"]
    assert told["own"]["files"] != told["nearest"]["files"]
    assert told["own"]["lost"]["mean_kl"] < told["nearest"]["lost"]["mean_kl"]


def test_what_was_lost_is_said_on_answers_to_records_or_not_at_all(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"id": "1", "task": "g2p", "prompt": "g2p: a", "references": ["AH"]}\n')
    export = ("export", tiny_model_dir, tmp_path / "a", "--quantize", "int8")
    code, out, err = invoke(*export, "--held-out", data)
    assert code == 0, err
    assert "tokens of records: KL mean" in out
    code, out, err = invoke(*export, "--held-out", "none")
    assert code == 0, err
    assert "lost on" not in out


def test_one_prompt_is_no_prompts(invoke: Invoke, tiny_model_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"id": "1", "task": "g2p", "prompt": "g2p: a", "references": ["AH"]}\n')
    by_one = ("--quantize", "int8", "--gptq", data, "--golden", data, "--held-out", "none")
    code, out, err = invoke("export", tiny_model_dir, tmp_path / "a", *by_one)
    assert code == 0, err
    assert "reading 1 prompt to round weights by" in err
    assert "only 1 prompt: " in err
    assert "on 1 golden prompt: " in " ".join(out.split())
    shown = " ".join(invoke("inspect", tmp_path / "a")[1].split())
    assert "of 1 prompt with torch's" in shown
    assert "; 1 golden prompt" in shown
    assert "1 prompts" not in out + err + shown


@pytest.mark.parametrize("option", ["--gptq", "--held-out"])
def test_empty_data_is_one_line(
    option: str, invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("")
    code, out, err = invoke(
        "export", tiny_model_dir, tmp_path / "a", "--quantize", "int4", option, data
    )
    assert (code, out) == (2, "")
    assert "no records" in err.splitlines()[-1]
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("little_text")
def test_a_budget_of_bits_is_spent_and_said(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    code, out, err = invoke("export", tiny_model_dir, tmp_path / "a", "--bits", "9")
    assert code == 0, err
    assert "at most 9 bits a weight" in out
    assert "attention.qkv" in out
    assert "layer 1" in out
    assert re.search(r"took \d+ s and at most [\d,]+ MiB", err)
    manifest = read_manifest(tmp_path / "a")
    budget = manifest.quantization.budget
    assert budget
    assert manifest.quantization.scheme == "int4"
    assert budget.lost
    assert budget.lost.tokens > 100
    code, out, err = invoke(
        "export", tiny_model_dir, tmp_path / "b", "--bits", "9", "--held-out", "none", "--json"
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["quantization"]["budget"]["choices"] == msgspec.to_builtins(budget.choices)
    assert told["files"] == msgspec.to_builtins(manifest.files)
    code, out, err = invoke("inspect", tmp_path / "a")
    assert code == 0, err
    words = " ".join(out.split())
    assert "at most 9 bits a weight: " in words
    assert budget.lost.in_words in words


@pytest.mark.usefixtures("little_text")
def test_a_bound_of_memory_is_said(invoke: Invoke, tiny_model_dir: Path, tmp_path: Path) -> None:
    code, out, err = invoke(
        "export", tiny_model_dir, tmp_path / "a", "--bits", "9.5", "--memory-bits", "9.5",
        "--held-out", "none",
    )  # fmt: skip
    assert code == 0, err
    assert "at most 9.5 bits a weight, 9.5 in memory" in " ".join(out.split())
    budget = read_manifest(tmp_path / "a").quantization.budget
    assert budget
    assert budget.memory_bits == 9.5
    code, out, err = invoke("inspect", tmp_path / "a")
    assert code == 0, err
    assert "at most 9.5 bits a weight, 9.5 in memory: " in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bits", "1"), "--bits must be in [2, 32], for most models less; got 1"),
        (("--bits", "31"), " for this model, got 31"),
        (("--bits", "nan"), "--bits must be in [2, 32], for most models less; got nan"),
        (("--bits", "9", "--quantize", "int8"), "--bits is for --quantize int4"),
        (("--bits", "9", "--block-size", "32"), "--block-size and --bits exclude one another"),
        (("--bits", "9", "--head-bits", "4"), "--head-bits and --bits exclude one another"),
        (("--bits", "9", "--gptq", "none"), "--bits measures on text, got --gptq none"),
        (("--bits", "9", "--format", "executorch"), "--bits is for --format onnx, got 9 for exec"),
        (("--bits", "9", "--format", "gguf"), "--bits is not for --format gguf"),
        (("--memory-bits", "9"), "--memory-bits goes with --bits, got 9 alone"),
        (("--bits", "9", "--memory-bits", "nan"), "--memory-bits must be above 0 and at most 32"),
        (("--bits", "9", "--memory-bits", "1"), " for this model with --bits 9, got 1"),
    ],
)
def test_a_budget_that_cannot_be_is_one_line(
    options: tuple[str, ...],
    message: str,
    invoke: Invoke,
    tiny_model_dir: Path,
    tmp_path: Path,
) -> None:
    code, out, err = invoke("export", tiny_model_dir, tmp_path / "a", *options)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("options", "prompt", "message"),
    [
        (
            (),
            "g2p: a",
            "--held-out is for --format onnx and gguf with rounded weights, got it for onnx none",
        ),
        (
            ("--format", "executorch", "--quantize", "8da4w"),
            "g2p: a",
            "--held-out is for --format onnx and gguf with rounded weights, got it for executorch"
            " 8da4w",
        ),
        (("--quantize", "int8"), "g2p: " + "a" * 60, "--held-out: no prompt has 1 to 24 tokens"),
        (
            ("--quantize", "int8"),
            "\u4f60\u597d \u4e16\u754c",
            "--held-out: the model's tokenizer knows at least half of such text, of these prompts",
        ),
    ],
)
def test_held_out_data_that_cannot_be_read_is_one_line_before_the_work(
    options: tuple[str, ...],
    prompt: str,
    message: str,
    invoke: Invoke,
    tiny_model_dir: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "data.jsonl"
    record = {"id": "1", "task": "g2p", "prompt": prompt, "references": []}
    data.write_text(json.dumps(record))
    code, out, err = invoke("export", tiny_model_dir, tmp_path / "a", *options, "--held-out", data)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "writing the" not in err
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.slow
def test_what_executorch_lost_is_not_measured_which_a_line_says(
    invoke: Invoke, tiny_model_dir: Path, tmp_path: Path
) -> None:
    options = ("--format", "executorch", "--quantize", "8da4w")
    code, out, err = invoke("export", tiny_model_dir, tmp_path / "a", *options)
    assert code == 0, err
    assert "what was lost is measured with --format onnx and gguf alone\n" in err
    assert "lost on" not in out
