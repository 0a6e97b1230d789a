"""What `escalade learn` is told of a language model: read strictly, and made into a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.training.errors import RecipeError
from escalade.training.improvement.configuration import read_improvement, recipe_of
from escalade.training.recipes.recipe import read_recipe
from escalade.training.tables import kind_of

LEAST = """kind = "generation"
model = "small"
store = "store"
[expert]
address = "127.0.0.1:1"
[optim]
steps = 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "improve.toml"
    found.write_text(LEAST)
    return found


def test_paths_become_absolute_and_the_rest_has_defaults(path: Path) -> None:
    found = read_improvement(path)
    assert (found.model, found.store) == (str(path.parent / "small"), str(path.parent / "store"))
    assert (found.loss, found.key, found.replay, found.lora) == ("cat-xent", None, None, None)
    path.write_text(LEAST + '[replay]\npath = "old.jsonl"\n')
    replay = read_improvement(path).replay
    assert replay is not None
    assert replay.path == str(path.parent / "old.jsonl")


def test_the_recipe_that_is_made_can_be_read_and_asks_the_expert(path: Path) -> None:
    more = LEAST.replace('1"\n', '1"\ntls = false\ntoken_file = "tok\\"en"\n') + "[lora]\nr = 4\n"
    path.write_text(more)
    made = path.parent / "recipe.toml"
    wanted = read_improvement(path)
    folders = Path("/m"), Path("/d"), Path("/cache.safetensors")
    made.write_text(recipe_of(wanted, "next", *folders))
    recipe = read_recipe(made)
    assert (recipe.name, recipe.loss, recipe.optim, recipe.lora) == (
        "next", "cat-xent", wanted.optim, wanted.lora,
    )  # fmt: skip
    [teacher] = recipe.teachers
    assert teacher.address == "127.0.0.1:1"
    assert teacher.token_file == str(path.parent / 'tok"en')
    assert (recipe.model.path, recipe.data.source, teacher.cache) == tuple(map(str, folders))


def test_a_loss_that_looks_at_no_teacher_asks_none(path: Path) -> None:
    path.write_text(f'loss = "xent"\n{LEAST}')
    made = path.parent / "recipe.toml"
    made.write_text(recipe_of(read_improvement(path), "n", Path("/m"), Path("/d"), Path("/c")))
    assert read_recipe(made).teacher is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps", "step", "unknown field `step`"),
        ("address", "path", "expert.address is missing"),
        ("[optim]", 'path = "large"\n[optim]', "expert.path is of a recipe's teacher"),
        (
            "[optim]",
            "[replay]\npath = 'x'\nshare = 1.0\n[optim]",
            r"replay.share must be in \[0, 1",
        ),
        ("[optim]", "[calibration]\nshare = 0.0\n[optim]", "calibration.share"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path: Path, old: str, new: str, said: str) -> None:
    path.write_text(LEAST.replace(old, new))
    with pytest.raises(RecipeError, match=said) as caught:
        read_improvement(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind"), [(LEAST, "generation"), ("labels = []", None), ("kind =", None), ("\0", None)]
)
def test_the_kind_of_a_file_is_read_and_nothing_is_said_of_it(
    path: Path, text: str, kind: str | None
) -> None:
    path.write_text(text)
    assert kind_of(path) == kind
    assert kind_of(path.parent) is None
