"""How `escalade export` takes the prompts that a checkpoint keeps, and refuses damaged ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.checkpoint import PROMPTS_NAME
from escalade.edge.base import Record, write_records

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def keeping(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that keeps prompts."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    prompts = [f"g2p: {one}q{other}" for one in "abcdefgh" for other in "klmnopqr"]
    write_records(
        folder / PROMPTS_NAME,
        [Record(id=one, task="g2p", prompt=one, references=[]) for one in prompts],
    )
    return folder


def test_four_bits_take_what_is_kept_or_what_is_asked_for(
    invoke: Invoke, keeping: Path, tmp_path: Path
) -> None:
    said = {}
    for name, how in (("kept", ()), ("own", ("--gptq", "own")), ("none", ("--gptq", "none"))):
        code, out, err = invoke(
            "export", keeping, tmp_path / name, "--quantize", "int4", "--held-out", "none",
            "--json", *how,
        )  # fmt: skip
        assert code == 0, err
        said[name] = json.loads(out)["quantization"]["detail"]
        taken = f"taking 64 prompts that the model was trained on ({PROMPTS_NAME})"
        assert (taken in " ".join(err.split())) == (name == "kept")
    assert " on prompts that it was trained on (sha256 " in said["kept"]
    assert said["own"].endswith(" on text that it wrote")
    assert "GPTQ" not in said["none"]


DAMAGED = {
    "empty": (b"", "no records; at least 1 line of JSON is needed"),
    "cut": (b'{"id": "1", "task": "g2p", "pro', ":1: "),
    "no text": (b"\xff\xfe\n", PROMPTS_NAME),
    "other records": (b'{"prompt": "g2p: a"}\n', ":1: "),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_one_line_before_the_work(
    kind: str, invoke: Invoke, keeping: Path, tmp_path: Path
) -> None:
    content, why = DAMAGED[kind]
    (keeping / PROMPTS_NAME).write_bytes(content)
    code, out, err = invoke("export", keeping, tmp_path / "a", "--quantize", "int4")
    assert (code, out) == (2, "")
    *before, line = err.splitlines()
    assert before == ["loading torch ..."]
    assert f"{keeping / PROMPTS_NAME}" in line
    assert why in line
    assert line.endswith("put it back, delete it, or give --gptq")
    assert not (tmp_path / "a").exists()
