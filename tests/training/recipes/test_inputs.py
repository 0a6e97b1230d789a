"""A run that goes on finds what it began with, or is refused by the name of what changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import TrainerCallback

from escalade.edge.base.records import read_records, write_records
from escalade.training.data.tokenizer import save_tokenizer
from escalade.training.errors import RecipeError
from escalade.training.recipes.run import run_recipe

Write = Callable[..., Path]


class CutOff(BaseException):
    """Stands for a kill."""


class Cut(TrainerCallback):
    """Cuts a run off after the checkpoint of its third step."""

    def on_step_begin(self, args: object, state: object, *_: object, **__: object) -> None:
        if getattr(state, "global_step", 0) == 4:
            raise CutOff


def trained(recipe: Path, out: Path) -> dict[str, object]:
    return run_recipe(recipe, out, progress=lambda *_: None)


@pytest.fixture(scope="module")
def cut(
    finished: Path, workplace: Path, write: Write, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a recipe, everything to learn from, and its run, cut off."""
    tmp_path = tmp_path_factory.mktemp("cut")
    for name in ("base", "large"):
        shutil.copytree(finished, tmp_path / name)
    shutil.copytree(workplace / "data", tmp_path / "data")
    save_tokenizer(tmp_path / "tokens")
    teacher = '[teacher]\npath = "large"\ncache = "cache.safetensors"'
    text = write("x", loss="cat-xent", tokenizer="tokens", steps=6, teacher=teacher).read_text()
    start, end = text.index("[model.config]"), text.index("[data]")
    recipe = tmp_path / "r.toml"
    recipe.write_text(text[:start] + '[model]\npath = "base"\n' + text[end:])
    with pytest.raises(CutOff):
        run_recipe(recipe, tmp_path / "out", progress=lambda *_: None, callbacks=[Cut()])
    return tmp_path


@pytest.fixture
def begun(cut: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of it: the recipe, and where its run was to go."""
    shutil.copytree(cut, tmp_path, dirs_exist_ok=True)
    return tmp_path / "r.toml", tmp_path / "out"


def reverse(path: Path) -> None:
    write_records(path, reversed(read_records(path)))


def change_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = min(tensors)
    tensors[name] = tensors[name] + torch.ones(())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def swap_letters(path: Path) -> None:
    content = json.loads(path.read_text())
    letters = content["model"]["vocab"]
    letters["a"], letters["b"] = letters["b"], letters["a"]
    path.write_text(json.dumps(content))


def change_cache(folder: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = folder / "cache.safetensors"
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    del metadata["sha256"]  # as an older version wrote it: with it, the file is damaged
    tensors = {name: values.copy() for name, values in load_file(path).items()}
    tensors["argmax"][0] += 1
    save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("training queries", lambda at: reverse(at / "data" / "train.jsonl")),
        ("validation queries", lambda at: reverse(at / "data" / "valid.jsonl")),
        ("tokenizer", lambda at: swap_letters(at / "tokens" / "tokenizer.json")),
        ("base weights", lambda at: change_weights(at / "base")),
        ("config.json of the base model",
         lambda at: change_json(at / "base" / "config.json", attention_dropout=0.5)),
        ("teacher's cache", change_cache),
    ],
)  # fmt: skip
def test_what_changed_is_named_before_the_run_goes_on(
    name: str, change: Callable[[Path], None], begun: tuple[Path, Path]
) -> None:
    recipe, out = begun
    change(recipe.parent)
    stages: list[str] = []
    with pytest.raises(RecipeError, match=f"out.run holds an unfinished run, and its {name} chang"):
        run_recipe(recipe, out, progress=lambda stage, *_: stages.append(stage))
    assert stages == []


def test_settings_of_a_tokenizer_count_by_what_they_do(begun: tuple[Path, Path]) -> None:
    recipe, out = begun
    change_json(recipe.parent / "tokens" / "tokenizer_config.json", eos_token="<pad>")  # noqa: S106
    with pytest.raises(
        RecipeError,
        match=r"its (tokenizer|tokens of the training queries) changed|eos_token_id must hold",
    ):
        trained(recipe, out)


def test_a_recipe_that_changed_says_where(begun: tuple[Path, Path]) -> None:
    recipe, out = begun
    text = recipe.read_text()
    recipe.write_text(text.replace("warmup_steps = 2", "warmup_steps = 3"))
    with pytest.raises(RecipeError, match=r"another recipe: optim\.warmup_steps was 2, is 3"):
        trained(recipe, out)
    recipe.write_text(text.replace("valid_size = 8", "valid_size = 8\ntrain_size = 30"))
    with pytest.raises(RecipeError, match=r"data\.train_size was None, is 30"):
        trained(recipe, out)
    recipe.write_text(text + "[lora]\nr = 2\n")
    with pytest.raises(RecipeError, match="another recipe: lora was None"):
        trained(recipe, out)


def test_what_is_only_written_otherwise_has_not_changed(begun: tuple[Path, Path]) -> None:
    """Blank lines, a cache that is made anew by the same teacher, another place."""
    recipe, out = begun
    data = recipe.parent / "data" / "train.jsonl"
    data.write_text("\n" + data.read_text())
    (recipe.parent / "cache.safetensors").unlink()
    metrics = trained(recipe, out)
    assert metrics["steps"] == 6
    # Finished, it is asked again with other data: it learns from them, from the beginning.
    reverse(data)
    (recipe.parent / "cache.safetensors").unlink()
    again = trained(recipe, out)
    before, after = metrics["inputs"], again["inputs"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"training queries", "tokens of the training queries", "teacher's cache"}
    assert json.loads((out / "metrics.json").read_text())["inputs"] == after


def test_a_run_that_does_not_say_what_it_began_with_is_refused(begun: tuple[Path, Path]) -> None:
    recipe, out = begun
    out.with_name("out.run").joinpath("inputs.json").unlink()
    with pytest.raises(RecipeError, match="does not say what it began with"):
        trained(recipe, out)
