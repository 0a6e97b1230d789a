"""How `escalade train` says which prompts it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.checkpoint import PROMPTS_NAME
from escalade.edge.base import Record, read_records, write_records

Invoke = Callable[..., tuple[int, str, str]]
RECIPE = """
name = "tiny"
seed = 1
loss = "xent"
[model]
path = "{model}"
[data]
source = "data"
max_tokens = 40
[optim]
steps = 1
batch_size = 4
"""


@pytest.fixture
def recipe(tiny_model_dir: Path, tmp_path: Path) -> Path:
    records = [
        Record(id=str(number), task="g2p", prompt=f"g2p: {'ab'[number % 2]}", references=["AH"])
        for number in range(12)
    ]
    write_records(tmp_path / "data" / "train.jsonl", records)
    write_records(tmp_path / "data" / "valid.jsonl", records[:2])
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(model=tiny_model_dir))
    return path


def test_it_says_what_it_keeps_and_who_can_read_it(
    invoke: Invoke, recipe: Path, tmp_path: Path
) -> None:
    code, out, err = invoke("train", recipe, tmp_path / "out", "--keep-prompts", "5")
    assert code == 0, err
    said = " ".join(out.split())
    assert "5 prompts of the training split are kept in" in said
    assert "who has the folder can read them (--keep-prompts 0 keeps none)" in said
    assert len(read_records(tmp_path / "out" / PROMPTS_NAME)) == 5


def test_none_are_kept_where_none_are_wanted(invoke: Invoke, recipe: Path, tmp_path: Path) -> None:
    code, out, err = invoke("train", recipe, tmp_path / "out", "--keep-prompts", "0")
    assert code == 0, err
    assert "prompts of the training split" not in out
    assert not (tmp_path / "out" / PROMPTS_NAME).exists()


def test_more_than_are_read_are_refused(invoke: Invoke, recipe: Path, tmp_path: Path) -> None:
    code, out, err = invoke("train", recipe, tmp_path / "out", "--keep-prompts", "4097")
    assert (code, out) == (2, "")
    assert "'--keep-prompts': Input should be less than or equal to 4096, got '4097'" in err
    assert not (tmp_path / "out").exists()
