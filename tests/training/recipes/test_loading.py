"""What a recipe names and cannot be had, or does not fit: named in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.edge.errors import DataError
from escalade.training.data.tokenizer import build_tokenizer, save_tokenizer
from escalade.training.errors import RecipeError, TeacherError
from escalade.training.recipes import open_checkpoint
from escalade.training.recipes.loading import refused_by_export
from escalade.training.recipes.run import run_recipe

Write = Callable[..., Path]


def silent(*_: object) -> None:
    """A `Progress` that draws nothing."""


def test_a_teacher_with_another_tokenizer_is_refused(
    finished: Path, workplace: Path, write: Write
) -> None:
    shutil.copytree(finished, workplace / "stranger")
    tokenizer = json.loads(build_tokenizer().to_str())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (workplace / "stranger" / "tokenizer.json").write_text(json.dumps(tokenizer))
    recipe = write("x", loss="dist", teacher='[teacher]\npath = "stranger"')
    with pytest.raises(
        TeacherError,
        match="teacher '.*stranger': its tokenizer is not the student's: 2 of 84 tokens",
    ):
        run_recipe(recipe, workplace / "refused", progress=silent)


def test_a_teacher_without_a_tokenizer_is_refused(
    finished: Path, workplace: Path, write: Write
) -> None:
    shutil.copytree(finished, workplace / "mute", ignore=shutil.ignore_patterns("tokenizer*"))
    recipe = write("x", loss="dist", teacher='[teacher]\npath = "mute"')
    with pytest.raises(RecipeError, match="mute: its tokenizer cannot be loaded"):
        run_recipe(recipe, workplace / "refused", progress=silent)


def test_a_missing_teacher_is_refused_in_one_line(workplace: Path, write: Write) -> None:
    recipe = write("x", loss="dist", teacher='[teacher]\npath = "./nowhere"')
    with pytest.raises(RecipeError, match="nowhere: no such folder") as caught:
        run_recipe(recipe, workplace / "refused", progress=silent)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_an_end_token_is_refused(workplace: Path, write: Write) -> None:
    save_tokenizer(workplace / "endless")
    config = workplace / "endless" / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(RecipeError, match="endless' has no end-of-sequence token"):
        run_recipe(write("x", tokenizer="endless"), workplace / "refused", progress=silent)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"repetition_penalty": 1.1}, "not taken: repetition_penalty 1.1"),
        ({"eos_token_id": 5}, "eos_token_id must hold the tokenizer's '<eos>', 2, .* got 5$"),
        # transformers would refuse to save the trained model
        (
            {"temperature": 0.5},
            "generation_config.json: GenerationConfig is invalid: .*temperature",
        ),
    ],
)
def test_a_model_that_would_answer_otherwise_than_it_learns_is_refused(
    settings: dict[str, object], says: str, finished: Path, workplace: Path, write: Write
) -> None:
    base = Path(shutil.copytree(finished, workplace / "base", dirs_exist_ok=True))
    path = base / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    recipe = write("x")
    kept = recipe.read_text().split("[model.config]")[0], recipe.read_text().split("[data]")[1]
    recipe.write_text(f'{kept[0]}[model]\npath = "base"\n[data]{kept[1]}')
    with pytest.raises(RecipeError, match=says) as caught:
        run_recipe(recipe, workplace / "refused", progress=silent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hidden_sise = 16", "llama knows no 'hidden_sise'; did you mean 'hidden_size'?"),
        ("num_layers = 2", "llama knows no 'num_layers'"),
    ],
)
def test_a_model_config_with_an_unknown_key_is_refused(
    line: str, message: str, workplace: Path, write: Write
) -> None:
    with pytest.raises(RecipeError) as caught:
        run_recipe(write("x", config=line), workplace / "refused", progress=silent)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "3", "task": "g2p", "prompt"', r"valid\.jsonl:3: not a valid record"),
        ('{"id": "3", "task": "g2p", "prompt": "a"}', r"valid\.jsonl:3: .*references"),
        ('{"id": "3", "task": "g2p", "prompt": "a", "references": []}', "record '3': references"),
    ],
)
def test_a_bad_line_in_a_users_data_is_named(
    line: str, message: str, workplace: Path, write: Write
) -> None:
    data = workplace / "bad"
    shutil.copytree(workplace / "data", data, dirs_exist_ok=True)
    lines = (data / "valid.jsonl").read_text().splitlines()
    (data / "valid.jsonl").write_text("\n".join([*lines[:2], line]) + "\n")
    recipe = write("x")
    recipe.write_text(recipe.read_text().replace('"data"', '"bad"'))
    with pytest.raises(DataError, match=message):
        run_recipe(recipe, workplace / "refused", progress=silent)


def test_what_export_will_refuse_is_said_before_training(workplace: Path, write: Write) -> None:
    said: list[str] = []

    def stop(stage: str, done: int, *_: object) -> None:
        assert said
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(write("narrow"), workplace / "narrow", progress=stop, say=said.append)
    assert said == [
        "`escalade export` to ONNX will refuse this model: rotary channels of a head must be a"
        " multiple of 16 for --format onnx, or leave room to fill them up, got 8 of 8"
    ]


def test_of_a_model_that_can_be_exported_nothing_is_said(tiny_model_dir: Path) -> None:
    model, _ = open_checkpoint(str(tiny_model_dir))
    assert refused_by_export(model) is None
