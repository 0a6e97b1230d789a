"""What a next version is exported with."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from escalade.checkpoint import PROMPTS_NAME
from escalade.cli.improvement.making import ARTIFACT, CHECKPOINT, VALID, Making
from escalade.edge.artifact import load_manifest
from escalade.edge.base import Record, read_records, write_records
from escalade.export.artifact.artifact import export_artifact
from escalade.export.text import AS_KEPT, NEAREST, OWN_TEXT, RoundingText
from escalade.export.text.rounding_text import read_rounding_text
from escalade.training.improvement import Improvement


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": "int4", "rounded_by": NEAREST},
        {"quantize": "int8", "rounded_by": RoundingText(["g2p: a"])},
        {"quantize": "int4", "head_bits": 4, "activation_bits": 32},
        pytest.param(
            {"quantize": "int4", "bits": 8.0, "memory_bits": 12.0, "activation_bits": 32},
            marks=pytest.mark.slow,
        ),
        {"layout": "genai"},
        pytest.param(
            {"format": "executorch", "quantize": "8da4w", "head_bits": 4}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_version_is_stored_as_the_one_before(
    options: dict[str, object], tiny_model_dir: Path, tmp_path: Path
) -> None:
    before, data = tmp_path / "before", tmp_path / "data.jsonl"
    records = [
        Record(id=word, task="g2p", prompt=f"g2p: {word}", references=["AH"])
        for word in ("a", "cat", "banana")
    ]
    write_records(data, records)
    if options.get("rounded_by", NEAREST) != NEAREST:  # has a name once it is a file
        options = options | {"rounded_by": read_rounding_text(data)}
    export_artifact(
        tiny_model_dir, before, golden_prompts=["g2p: a"], max_new_tokens=2,
        **options,  # type: ignore[arg-type]
    )  # fmt: skip
    said: list[str] = []
    making(before, tiny_model_dir, tmp_path / "next").export(said.append)
    made, was = load_manifest(tmp_path / "next" / ARTIFACT), load_manifest(before)
    assert made.quantization == was.quantization
    assert set(made.files) == set(was.files)
    assert not said


@pytest.fixture
def keeping(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that keeps prompts."""
    shutil.copytree(tiny_model_dir, tmp_path / "keeping")
    words = [f"{one}q{other}" for one in "abcdefgh" for other in "klmnopqr"]
    write_records(
        tmp_path / "keeping" / PROMPTS_NAME,
        [Record(id=word, task="g2p", prompt=f"g2p: {word}", references=[]) for word in words],
    )
    return tmp_path / "keeping"


@pytest.mark.parametrize("own", [False, True])
def test_prompts_that_a_checkpoint_keeps_are_taken_of_the_next_or_left_again(
    own: bool, keeping: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    was = export_artifact(
        keeping,
        before,
        golden_prompts=["g2p: a"],
        max_new_tokens=2,
        quantize="int4",
        rounded_by=OWN_TEXT if own else AS_KEPT,
    )
    assert (" on prompts that it was trained on " in was.quantization.detail) != own
    said: list[str] = []
    making(before, keeping, tmp_path / "next").export(said.append)
    assert load_manifest(tmp_path / "next" / ARTIFACT).quantization == was.quantization
    assert not said


@pytest.mark.parametrize("few", [0, 9])
def test_where_the_next_checkpoint_keeps_none_or_few_it_says_so(
    few: int, keeping: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    export_artifact(
        keeping, before, golden_prompts=["g2p: a"], max_new_tokens=2, quantize="int4", tuned=False
    )
    kept = read_records(keeping / PROMPTS_NAME)[:few]
    (keeping / PROMPTS_NAME).unlink()
    if kept:
        write_records(keeping / PROMPTS_NAME, kept)
    said: list[str] = []
    making(before, keeping, tmp_path / "next").export(said.append)
    [line] = said
    assert line.startswith(f"{tmp_path / 'next' / CHECKPOINT}: keeps no prompts that it was")
    assert line.endswith("; it is rounded as where none are kept")
    made = load_manifest(tmp_path / "next" / ARTIFACT).quantization
    assert made.detail.endswith(" on text that it wrote")


def making(before: Path, model: Path, folder: Path) -> Making:
    """The next version, trained and to be exported."""
    wanted = msgspec.convert(
        {
            "kind": "generation", "model": "m", "store": "s", "expert": {"address": "e:1"},
            "optim": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3, "warmup_steps": 0},
        },
        Improvement,
    )  # fmt: skip
    shutil.copytree(model, folder / CHECKPOINT)
    (folder / VALID).parent.mkdir()
    write_records(folder / VALID, [Record(id="a", task="g2p", prompt="g2p: a", references=["AH"])])
    return Making(wanted, folder, before)


@pytest.mark.parametrize(
    ("becomes", "why"),
    [
        (None, "the text that the version before was rounded by is gone"),
        (
            '{"id": "b", "task": "g2p", "prompt": "b", "references": ["x"]}\n',
            "is another text than",
        ),
        ("no record\n", "malformed"),
    ],
)
def test_where_the_text_to_round_by_is_another_it_says_so(
    becomes: str | None, why: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    before, data = tmp_path / "before", tmp_path / "data.jsonl"
    write_records(data, [Record(id="a", task="g2p", prompt="g2p: cat", references=["K"])])
    read = read_rounding_text(data)
    export_artifact(
        tiny_model_dir, before, golden_prompts=["g2p: a"], quantize="int8",
        rounded_by=read,
    )  # fmt: skip
    if becomes is None:
        data.unlink()
    else:
        data.write_text(becomes)
    said: list[str] = []
    making(before, tiny_model_dir, tmp_path / "next").export(said.append)
    [line] = said
    assert line.startswith(str(data)) and why in line  # noqa: PT018
    assert line.endswith("; the next one is rounded as without --gptq")
    was, made = (load_manifest(one).quantization for one in (before, tmp_path / "next" / ARTIFACT))
    assert was.detail == f"{made.detail}; rounded by GPTQ{read.named}"
