"""What a manifest may say of a classifier, and what is said where it says something else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from classifiers import LABELS, linear_artifact

from escalade.edge import Artifact
from escalade.edge.artifact import memory_needed, program_digest, read_manifest
from escalade.edge.artifact.manifest import parse_manifest
from escalade.edge.errors import ArtifactError

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_artifact(tmp_path_factory.mktemp("linear"))


def changed(folder: Path, change: Change) -> bytes:
    content = json.loads((folder / "manifest.json").read_bytes())
    change(content)
    return json.dumps(content).encode()


def entry(content: dict[str, Any]) -> Any:
    return content["classification"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: entry(m).update(labels=["joy", "joy", "x"]), "labels must differ, got 'joy' tw"),
        (lambda m: entry(m).update(labels=["joy"]), "labels must be 2 to 65536, got 1"),
        (lambda m: entry(m).update(labels=["joy", "", "x"]), "printable characters, got ''"),
        (lambda m: entry(m).update(labels=["a", "b"]), "linear.intercepts must be 2, one for each"),
        (lambda m: entry(m)["linear"].update(intercepts=[1e999] * 3), "JSON is malformed"),
        (lambda m: entry(m)["linear"].update(link="probit"), "link must be one of sigmoid"),
        (lambda m: entry(m)["linear"].update(documents=-1), "documents must be at least 0"),
        (lambda m: entry(m)["linear"]["features"].update(buckets=1), "buckets must be at least 2"),
        (lambda m: entry(m)["linear"]["features"].update(words=[2, 1]), "two rising numbers in"),
        (lambda m: entry(m)["linear"]["features"].update(buckets=9), "must be 9 and"),
        (lambda m: entry(m).update(layers=3), "unknown field `layers`"),
        (lambda m: m.update(format="onnx"), "format of this classifier must be linear"),
        (lambda m: m.update(encoder="linear.npy"), "must be linear, of one program"),
        (lambda m: entry(m).pop("linear"), "files does not list tokenizer.json"),
        (lambda m: m.pop("classification"), "files does not list tokenizer.json"),
        (lambda m: m["golden"][0].update(token_ids=[3]), "token ids must be there and in 0-2"),
        (lambda m: m["golden"][0].update(prompt_ids=[4096]), "must be there and in 0-4095"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_named(folder: Path, change: Change, says: str) -> None:
    with pytest.raises(ArtifactError, match="manifest") as error:
        parse_manifest(changed(folder, change), "manifest")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_another_size_or_content_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    content = (broken / "linear.npy").read_bytes()
    (broken / "linear.npy").write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match="linear.npy: .* bytes, the manifest says"):
        Artifact.open(broken)
    (broken / "linear.npy").write_bytes(content[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match="linear.npy: altered"):
        Artifact.open(broken)


def test_the_labels_are_part_of_who_it_is(folder: Path) -> None:
    other = parse_manifest(changed(folder, lambda m: entry(m)["labels"].reverse()), "other")
    assert program_digest(other) != program_digest(read_manifest(folder))


def test_it_takes_no_more_memory_than_is_said(folder: Path) -> None:
    needed = memory_needed(folder, read_manifest(folder)).total
    code = (
        "import tracemalloc\n"
        "from pathlib import Path\n"
        "from escalade.edge import Artifact\n"
        "import escalade.edge.runtimes.linear_runtime\n"
        "tracemalloc.start()\n"
        f"artifact = Artifact.open(Path({str(folder)!r}), max_memory={needed})\n"
        "text = ' '.join(chr(0x4e00 + k % 20000) for k in range(40000))\n"
        "assert set(artifact.classify(text))\n"
        "print(tracemalloc.get_traced_memory()[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # All of it but what the interpreter's libraries take.
    own = memory_needed(folder, read_manifest(folder)).total - (48 << 20)
    assert int(done.stdout) < own
    with pytest.raises(ArtifactError, match="may take at most"):
        Artifact.open(folder, max_memory=needed - 1)


def test_what_is_no_classifier_has_no_classes(float_artifact: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="not a classifier"):
        Artifact.open(float_artifact).classify("hello")
    assert list(Artifact.open(folder).classify("hello")) == LABELS
