"""That a model's folder is not there is said before torch is loaded, which takes seconds."""

from __future__ import annotations

import subprocess
import sys
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


@pytest.mark.parametrize("out", ["queries.jsonl", "queries.jsonl/out"])
def test_so_does_export_of_a_place_that_takes_no_artifact(out: str, tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("")
    says = {
        "queries.jsonl": "is there and holds no manifest.json; name another, or remove it",
        "queries.jsonl/out": f"cannot be written: {tmp_path / 'queries.jsonl'} is no folder",
    }
    refused_at_once(("export", ".", out), tmp_path, f"{out}: {says[out]}")


TRAINED = """
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
    ("tables", "says"),
    [
        ('[model]\npath = "none"\n[teacher]\npath = "."\n', "recipe.toml: {}/none: no such folder"),
        ('[model]\npath = "."\n[teacher]\npath = "none"\n', "recipe.toml: {}/none: no such folder"),
        (
            '[model]\npath = "."\n[teacher]\npath = "."\n[data]\nsource = "none"\n',
            "{}/none/train.jsonl: no such file",
        ),
    ],
    ids=["model", "teacher", "data"],
)
def test_train_says_what_is_not_there_before_it_loads_torch(
    tables: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(TRAINED + tables)
    refused_at_once(("train", "recipe.toml", "out"), tmp_path, says.format(tmp_path))


def refused_at_once(typed: tuple[str, ...], tmp_path: Path, says: str) -> None:
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
    assert done.stderr.splitlines() == [f"error: {says}"]
    assert done.stdout == "[]\n"
    assert not (tmp_path / "out").exists()


def test_a_server_s_engine_does_too() -> None:
    code = (
        "import sys, time\n"
        "from escalade.cloud.backends import transformers_factory\n"
        "from escalade.cloud.errors import ModelError\n"
        "try:\n"
        "    transformers_factory('none')(queue_capacity=1, clock=time.monotonic)\n"
        "except ModelError as error:\n"
        "    print(error)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["none: no such folder", "[]"]
