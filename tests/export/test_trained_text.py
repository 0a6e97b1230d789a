"""Without text that is given, weights are rounded by the prompts that a checkpoint keeps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from escalade.checkpoint import PROMPTS_NAME
from escalade.edge.artifact import Manifest
from escalade.edge.base import Record, write_records
from escalade.edge.errors import DataError
from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import OptionError
from escalade.export.text import NEAREST, OWN_TEXT, RoundingText

#: As many as are taken, of words that nothing else here has.
PROMPTS = [f"g2p: {one}q{other}" for one in "abcdefghij" for other in "klmnopqrst"]
EXACT: dict[str, Any] = {"quantize": "int4", "golden_prompts": ["g2p: a"], "max_new_tokens": 2}


def records(prompts: list[str]) -> list[Record]:
    return [
        Record(id=str(number), task="g2p", prompt=prompt, references=[])
        for number, prompt in enumerate(prompts)
    ]


@pytest.fixture(scope="module")
def keeping(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, in a folder that keeps prompts. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("keeping") / "model"
    shutil.copytree(tiny_model_dir, folder)
    write_records(folder / PROMPTS_NAME, records(PROMPTS))
    return folder


@pytest.fixture(scope="module")
def exported(
    keeping: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Manifest]:
    """By how the weights were rounded."""
    out = tmp_path_factory.mktemp("exported")
    ways: dict[str, tuple[Path, dict[str, Any]]] = {
        "kept": (keeping, {}),
        "given": (tiny_model_dir, {"rounded_by": RoundingText(PROMPTS)}),
        "own": (keeping, {"rounded_by": OWN_TEXT}),
        "nothing kept": (tiny_model_dir, {}),
        "none": (keeping, {"rounded_by": NEAREST}),
        "int8": (keeping, {"quantize": "int8"}),
        "int8, nothing kept": (tiny_model_dir, {"quantize": "int8"}),
    }
    return {
        name: export_artifact(model, out / name, **EXACT | options)
        for name, (model, options) in ways.items()
    }


def program_of(manifest: Manifest) -> object:
    return {name: entry for name, entry in manifest.files.items() if name.startswith("model.")}


def test_a_checkpoint_is_rounded_by_what_it_keeps_as_if_it_was_given(
    exported: dict[str, Manifest],
) -> None:
    kept, given = exported["kept"], exported["given"]
    assert program_of(kept) == program_of(given)
    assert program_of(kept) != program_of(exported["own"])
    assert "; tuned together; rounded by GPTQ on prompts that it was trained on (sha256 " in (
        kept.quantization.detail
    )


def test_who_wants_another_rounding_gets_it(exported: dict[str, Manifest]) -> None:
    own, before = exported["own"], exported["nothing kept"]
    assert program_of(own) == program_of(before)
    assert own.quantization.detail == before.quantization.detail
    assert own.quantization.detail.endswith(" on text that it wrote")
    assert "GPTQ" not in exported["none"].quantization.detail


def test_eight_bits_are_rounded_to_nearest_as_without(exported: dict[str, Manifest]) -> None:
    assert program_of(exported["int8"]) == program_of(exported["int8, nothing kept"])
    assert "GPTQ" not in exported["int8"].quantization.detail


def test_a_budget_is_measured_on_what_a_checkpoint_keeps(keeping: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = export_artifact(
        keeping, tmp_path / "a", **EXACT, bits=9.0, tuned=False, progress=said.append
    )
    assert " on prompts that it was trained on (sha256 " in made.quantization.detail
    assert f"taking {len(PROMPTS)} prompts that the model was trained on ({PROMPTS_NAME})" in said
    assert "writing text to round weights by" not in said


@pytest.mark.parametrize("layout", [None, "optimum", "genai"])
def test_an_artifact_has_none_of_them(layout: Any, keeping: Path, tmp_path: Path) -> None:
    export_artifact(keeping, tmp_path / "a", **EXACT, tuned=False, layout=layout)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert PROMPTS_NAME not in names
    for path in (tmp_path / "a").iterdir():
        content = path.read_bytes()
        assert not any(prompt.encode() in content for prompt in PROMPTS), path.name


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        (PROMPTS[:63], "at least 64 prompts that leave room for an answer are enough, got 63"),
        (["g2p: " + "a" * 60] * 80, "no prompt has 1 to 24 tokens, of 80 given"),
    ],
    ids=["few", "long"],
)
def test_what_is_too_little_is_passed_over_and_said(
    prompts: list[str],
    why: str,
    exported: dict[str, Manifest],
    keeping: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(keeping, folder)
    write_records(folder / PROMPTS_NAME, records(prompts))
    said: list[str] = []
    made = export_artifact(folder, tmp_path / "a", **EXACT, progress=said.append)
    assert f"passing over {PROMPTS_NAME}: {why}" in said
    assert program_of(made) == program_of(exported["own"])
    assert made.quantization.detail.endswith(" on text that it wrote")


def test_a_folder_in_its_place_is_one_line(keeping: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(keeping, folder)
    (folder / PROMPTS_NAME).unlink()
    (folder / PROMPTS_NAME).mkdir()
    with pytest.raises(DataError, match=PROMPTS_NAME):
        export_artifact(folder, tmp_path / "a", **EXACT)


def test_a_damaged_file_is_not_looked_at_where_none_is_needed(
    keeping: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(keeping, folder)
    (folder / PROMPTS_NAME).write_bytes(b"")
    export_artifact(folder, tmp_path / "a", **EXACT | {"rounded_by": NEAREST})
    export_artifact(folder, tmp_path / "a", **EXACT | {"quantize": "none"})


@pytest.mark.parametrize("scheme", ["none", "int8"])
def test_own_text_is_refused_where_none_is_written(
    scheme: Any, keeping: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"--gptq own is for --quantize int4, got .* {scheme}$"):
        export_artifact(keeping, tmp_path / "a", quantize=scheme, rounded_by=OWN_TEXT)
