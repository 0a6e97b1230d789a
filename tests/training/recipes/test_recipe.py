"""Recipes: what is wrong is named, with the nearest known word or the allowed range."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.training.errors import RecipeError
from escalade.training.losses.filters import LOSSES, needs_teacher
from escalade.training.recipes.recipe import read_recipe

REPO = Path(__file__).resolve().parents[3]

GOOD = {
    "": 'name = "x"\nseed = 1\nloss = "cat-dist"\ntokenizer = "bundled"',
    "model": "config = { model_type = 'llama' }",
    "optim": "steps = 10",
    "teacher": 'path = "large"',
}


def write(folder: Path, **tables: str | None) -> Path:
    """A good recipe with some tables replaced, or left out where None."""
    merged = {**GOOD, **{("" if name == "top" else name): text for name, text in tables.items()}}
    path = folder / "recipe.toml"
    path.write_text(
        "\n".join(
            f"[{name}]\n{text}" if name else text
            for name, text in merged.items()
            if text is not None
        )
    )
    return path


def refusal(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_good_recipe_gets_the_documented_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    [teacher] = recipe.teachers
    assert (teacher.path, teacher.w) == (str(tmp_path / "large"), 0.5)
    assert (recipe.optim.steps, recipe.optim.schedule) == (10, "cosine")
    assert (recipe.data.source, recipe.run.compile) == ("bundled", False)


@pytest.mark.parametrize(
    ("table", "text", "near"),
    [
        ("optim", "steps = 10\nlearning_rat = 1", "learning_rate"),
        ("run", "checkpoint_step = 1", "checkpoint_steps"),
        ("data", "sorce = 'bundled'", "source"),
        ("teacher", "pth = 'x'\npath = 'y'", "path"),
    ],
)
def test_an_unknown_key_names_the_nearest_known(
    tmp_path: Path, table: str, text: str, near: str
) -> None:
    message = refusal(write(tmp_path, **{table: text}))
    assert f"did you mean {near!r}?" in message
    assert f"$.{table}" in message


def test_an_unknown_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, run="zzzzzz = 1"))
    assert (
        "known keys: bf16, checkpoint_steps, compile, keep_prompts, log_steps, report_to" in message
    )


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "missing required field `steps`" in refusal(write(tmp_path, optim=""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w = 0.5", "path, address and cache are all missing"),
        ("path = 'a'\naddress = 'b:1'\ncache = 'c'", "not both"),
        ("address = 'b:1'", "teacher.cache is missing: a cloud is asked once"),
        ("path = 'a'\nca_cert = 'b'", "teacher.ca_cert: of a cloud to ask, with an address"),
        ("path = 'a'\ntls = true", "teacher.tls: of a cloud to ask, with an address"),
        (
            "address = 'b:1'\ncache = 'c'\nca_cert = 'd'\ntls = false",
            "teacher.tls: must not be false",
        ),
        ("path = 'a'\ncache = 'c'\ntop_k = 0", "top_k must be at least 1 for loss 'cat-dist'"),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(write(tmp_path, teacher=text))


TWO = "[[teacher]]\npath = 'medium'\n[[teacher]]\npath = 'large'\nw = 0.25\n"


def several(folder: Path, top: str = "", teachers: str = TWO) -> Path:
    """A good recipe of several teachers; `top` are keys of no table."""
    path = write(folder, top=f"{GOOD['']}\n{top}", teacher=None)
    path.write_text(f"{path.read_text()}\n{teachers}")
    return path


@pytest.mark.parametrize(
    ("alpha", "asked"),
    [("any", [0, 1]), ("next", [0, 1]), ("last", [1]), ("soft", [0, 1])],
)
def test_of_several_teachers_those_are_asked_that_the_loss_looks_at(
    tmp_path: Path, alpha: str, asked: list[int]
) -> None:
    recipe = read_recipe(several(tmp_path, f"alpha = {alpha!r}"))
    assert [one.path for one in recipe.teachers] == [
        str(tmp_path / "medium"),
        str(tmp_path / "large"),
    ]
    assert [name for name, _ in recipe.asked] == [f"teacher[{place}]" for place in asked]
    assert [one for _, one in recipe.asked] == [recipe.teachers[place] for place in asked]
    assert recipe.alpha == alpha


def test_one_teacher_may_be_written_as_a_list(tmp_path: Path) -> None:
    one, listed = (
        read_recipe(several(tmp_path, teachers=f"{head}\npath = 'large'"))
        for head in ("[teacher]", "[[teacher]]")
    )
    assert one.teachers == listed.teachers
    assert one.asked == listed.asked
    assert [name for name, _ in one.asked] == ["teacher"]


@pytest.mark.parametrize(
    ("top", "teachers", "message"),
    [
        ("alpha = 'all'", TWO, "'all'"),
        ("teacher = []", "", "array` of length >= 1 - at `$.teacher`"),
        ("", TWO.replace("'medium'", "'medium'\nw = 0.1"),
         "teacher[0].w: is of the last teacher, whose distribution is learned from; got 0.1"),
        ("", TWO.replace("'medium'", "'medium'\ntop_k = 9"), "teacher[0].top_k: is of the last"),
        ("", TWO.replace("'medium'", "'large'"), "teacher[1].path: is another teacher's too"),
        ("", TWO.replace("'large'", "'large'\npth = 'x'"), "did you mean 'path'?"),
        ("", TWO.replace("w = 0.25", "w = 2"), "teacher[1].w must be in [0, 1], got 2"),
        ("", TWO.replace("w = 0.25", "ca_cert = 'x'"), "teacher[1].ca_cert: of a cloud to ask"),
        ("", TWO.replace("path = 'medium'", ""), "teacher[0]: path, address and cache are all"),
    ],
)  # fmt: skip
def test_several_teachers_that_cannot_be_are_refused(
    tmp_path: Path, top: str, teachers: str, message: str
) -> None:
    assert message in refusal(several(tmp_path, top, teachers))


def test_alpha_of_a_loss_that_filters_by_no_teacher_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, top=GOOD[""].replace("cat-dist", "dist") + "\nalpha = 'next'")
    assert "alpha: loss 'dist' filters by no teacher, got 'next'" in refusal(path)


@pytest.mark.parametrize("loss", [name for name in LOSSES if needs_teacher(name)])
def test_a_loss_that_looks_at_a_teacher_needs_one(tmp_path: Path, loss: str) -> None:
    path = write(tmp_path, top=GOOD[""].replace("cat-dist", loss), teacher=None)
    assert f"loss '{loss}' looks at a large model: a [teacher] table" in refusal(path)


def test_an_unknown_loss_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, top=GOOD[""].replace("cat-dist", "cat"))
    assert "'cat'" in refusal(path)


@pytest.mark.parametrize("w", ["-0.01", "1.5", "nan"])
def test_w_out_of_range_is_refused_with_its_range_and_value(tmp_path: Path, w: str) -> None:
    message = refusal(write(tmp_path, teacher=f'path = "large"\nw = {w}'))
    assert f"teacher.w must be in [0, 1], got {float(w)}" in message


@pytest.mark.parametrize("text", ["", "path = 'x'\nconfig = { model_type = 'llama' }"])
def test_neither_or_both_of_path_and_config_are_refused(tmp_path: Path, text: str) -> None:
    assert "model: give either path (fine-tune) or config" in refusal(write(tmp_path, model=text))


def test_a_config_without_model_type_is_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, model="config = { hidden_size = 16 }"))
    assert "model_type is missing" in message


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("optim", "steps", "0"),
        ("optim", "batch_size", "0"),
        ("optim", "learning_rate", "0.0"),
        ("optim", "warmup_steps", "-1"),
        ("optim", "schedule", "'cosin'"),
        ("run", "checkpoint_steps", "0"),
        ("run", "log_steps", "0"),
        ("data", "valid_size", "0"),
        ("data", "max_tokens", "1"),
        ("data", "train_size", "0"),
        ("optim", "accumulation_steps", "0"),
        ("lora", "r", "0"),
        ("lora", "alpha", "0"),
        ("lora", "dropout", "1.0"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_value(
    tmp_path: Path, table: str, key: str, value: str
) -> None:
    others = "steps = 10\n" if table == "optim" and key != "steps" else ""
    message = refusal(write(tmp_path, **{table: f"{others}{key} = {value}"}))
    assert f"{table}.{key} must be" in message
    assert message.endswith(f"got {value}")


def test_a_value_of_another_type_is_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, optim="steps = 'many'"))
    assert "Expected `int`, got `str`" in message
    assert "$.optim.steps" in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name = ", "not valid TOML"),
        (b"\xe9", "not UTF-8 text"),
        ("name = 'a'".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    ],
)
def test_bad_toml_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    assert says in refusal(path)


def test_a_mark_before_a_recipe_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    plain = read_recipe(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_recipe(path) == plain


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "none.toml")


def test_certificates_are_beside_the_recipe(tmp_path: Path) -> None:
    teacher = "address = 'b:1'\ncache = 'c'\nca_cert = 'ca.pem'"
    recipe = read_recipe(write(tmp_path, teacher=teacher))
    [teacher] = recipe.teachers
    assert teacher.ca_cert == str(tmp_path / "ca.pem")


def test_paths_are_relative_to_the_recipe_and_hub_names_left_alone(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small").mkdir()
    teacher = 'path = "../not-yet-there"\ncache = "kept/cache"'
    path = write(
        tmp_path / "recipes", model='path = "small"', data='source = "../data"', teacher=teacher
    )
    recipe = read_recipe(path)
    [teacher] = recipe.teachers
    assert recipe.model.path == str(tmp_path / "recipes" / "small")
    assert recipe.data.source == str(tmp_path / "data")
    assert teacher.path == str(tmp_path / "not-yet-there")
    assert teacher.cache == str(tmp_path / "recipes" / "kept" / "cache")
    assert recipe.tokenizer == "bundled"
    path = write(
        tmp_path, top=GOOD[""].replace("bundled", "hub:org/name"), teacher='path = "hub:org/large"'
    )
    recipe = read_recipe(path)
    [teacher] = recipe.teachers
    assert (recipe.tokenizer, teacher.path) == ("hub:org/name", "hub:org/large")
    assert recipe.model.path is None
    assert recipe.data.source == "bundled"


def test_a_model_that_is_not_beside_the_recipe_is_looked_for_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "small").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write(tmp_path / "recipes", model='path = "small"')
    assert read_recipe(path).model.path == str(tmp_path / "here" / "small")
    (tmp_path / "recipes" / "small").mkdir()
    assert read_recipe(path).model.path == str(tmp_path / "recipes" / "small")


def test_a_kept_copy_means_the_folder_it_was_written_for(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    path = write(tmp_path, model='path = "./small"')
    copy = tmp_path / "state" / "recipe.toml"
    copy.write_bytes(path.read_bytes())
    assert read_recipe(copy, folder=tmp_path) == read_recipe(path)
    assert read_recipe(copy) != read_recipe(path)


@pytest.mark.parametrize(
    "path", sorted((REPO / "training/recipes").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_recipe_of_ours_reads_well(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    for teacher in recipe.teachers:
        folder = Path(teacher.path or "")
        assert (REPO / "training/recipes" / f"{folder.name}.toml").exists()


def test_the_small_models_differ_in_their_loss_alone() -> None:
    paths = sorted((REPO / "training/recipes").glob("small-*.toml"))
    recipes = [read_recipe(path) for path in paths if path.stem != "small-base"]
    assert {recipe.loss for recipe in recipes} == {"xent", "dist", "cat-xent", "cat-dist"}
    for recipe in recipes:
        assert recipe.name == f"small-{recipe.loss}"
        assert recipe.model.path == str(REPO / "training/checkpoints/small-base")
        assert recipe.optim == recipes[0].optim
        assert recipe.seed == recipes[0].seed
