"""What is wrong with a model's folder at sight is said before torch is loaded: it takes seconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HEAVY = "{'torch', 'transformers', 'onnxruntime', 'safetensors'}"


@pytest.mark.parametrize(
    "typed",
    [("export", "none", "out"), ("trace", "none", "none", "queries.jsonl", "out")],
    ids=" ".join,
)
def test_a_verb_says_that_there_is_no_such_folder_before_it_loads_torch(
    typed: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "queries.jsonl").write_text("")
    refused_at_once(typed, tmp_path, "none: no such folder")


RECIPE = """
name = "a"
loss = "cat-xent"
seed = 1
tokenizer = "bundled"
[optim]
steps = 1
batch_size = 1
learning_rate = 1e-3
"""


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "not a model folder: config.json is missing"),
        ({"config.json": "{}"}, "no *.safetensors; other weight formats are not loaded"),
        ({"config.json": "[]", "a.safetensors": ""}, "config.json: must hold a JSON object"),
    ],
    ids=["nothing", "no weights", "no settings"],
)
@pytest.mark.parametrize("verb", ["export", "trace", "train", "serve"])
def test_so_does_every_verb_of_a_folder_that_holds_no_model(
    verb: str, files: dict[str, str], says: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name, content in files.items():
        (model / name).write_text(content)
    (tmp_path / "queries.jsonl").write_text("")
    (tmp_path / "recipe.toml").write_text(
        RECIPE + '[model]\npath = "model"\n[teacher]\npath = "."\n'
    )
    join = "/" if says.startswith("config.json") else ": "
    named = f"recipe.toml: {model}" if verb == "train" else "model"
    typed = {
        "export": ("export", "model", "out"),
        "trace": ("trace", "model", "model", "queries.jsonl", "out"),
        "train": ("train", "recipe.toml", "out"),
        "serve": ("serve", "model", "--ray", "local", "--listen", "127.0.0.1:0"),
    }[verb]
    refused_at_once(typed, tmp_path, f"{named}{join}{says}")


LEARN = """
labels = ["a", "b"]
[expert]
kind = "column"
column = "label"
[[level]]
kind = "encoder"
name = "bert"
path = "{}"
"""


@pytest.mark.parametrize(
    ("folder", "says"),
    [("none", "no such folder"), (".", "not a model folder: config.json is missing")],
)
def test_so_do_those_of_an_encoder_and_of_a_tokenizer(
    folder: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "items.jsonl").write_text('{"text": "x", "label": "a"}\n')
    (tmp_path / "learn.toml").write_text(LEARN.format(folder))
    encoder = (tmp_path / folder).resolve()
    learned = ("learn", "learn.toml", "items.jsonl", "out")
    # Checkpoints of levels that are no encoders are safetensors too, which take no time.
    refused_at_once(learned, tmp_path, f"encoder {encoder}: {says}", loaded=["safetensors"])
    served = ("serve", "openai:http://127.0.0.1:1/v1", "--tokenizer", folder)
    refused_at_once((*served, "--listen", "127.0.0.1:0"), tmp_path, f"{folder}: {says}")


@pytest.mark.parametrize("out", ["queries.jsonl", "queries.jsonl/out"])
def test_so_does_export_of_a_place_that_takes_no_artifact(out: str, tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("")
    says = {
        "queries.jsonl": "is there and holds no manifest.json; name another, or remove it",
        "queries.jsonl/out": f"cannot be written: {tmp_path / 'queries.jsonl'} is no folder",
    }
    refused_at_once(("export", ".", out), tmp_path, f"{out}: {says[out]}")


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ('[model]\npath = "none"\n[teacher]\npath = "."\n', "recipe.toml: {}/none: no such folder"),
        ('[model]\npath = "m"\n[teacher]\npath = "none"\n', "recipe.toml: {}/none: no such folder"),
        (
            '[model]\npath = "m"\n[teacher]\npath = "m"\n[data]\nsource = "none"\n',
            "{}/none/train.jsonl: no such file",
        ),
    ],
    ids=["model", "teacher", "data"],
)
def test_train_says_what_is_not_there_before_it_loads_torch(
    tables: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    for name, content in (("config.json", "{}"), ("model.safetensors", "")):
        (tmp_path / "m" / name).write_text(content)
    (tmp_path / "recipe.toml").write_text(RECIPE + tables)
    refused_at_once(("train", "recipe.toml", "out"), tmp_path, says.format(tmp_path))


def refused_at_once(
    typed: tuple[str, ...], tmp_path: Path, says: str, *, loaded: Sequence[str] = ()
) -> None:
    """By one line, with nothing heavy loaded and nothing written."""
    code = (
        "import sys\n"
        f"sys.argv = ['escalade', *{typed!r}]\n"
        "from escalade.cli.main import run\n"
        "try:\n"
        "    run()\n"
        "finally:\n"
        f"    print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    notes, line = done.stderr.splitlines()[:-1], done.stderr.splitlines()[-1:]
    assert line == [f"error: {says}"], done.stderr
    assert all(one.startswith("loading ") for one in notes)
    assert done.stdout == f"{[*loaded]}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "says"),
    [("none", "no such folder"), (".", "not a model folder: config.json is missing")],
)
def test_a_server_s_engine_does_too(model: str, says: str, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from escalade.cloud.backends import transformers_factory\n"
        "from escalade.cloud.errors import ModelError\n"
        "try:\n"
        f"    transformers_factory({model!r})(queue_capacity=1, clock=time.monotonic)\n"
        "except ModelError as error:\n"
        "    print(error)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines() == [f"{model}: {says}", "[]"]
