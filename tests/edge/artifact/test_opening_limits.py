"""What an artifact may take: threads, memory, the bytes of a prompt."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from escalade.edge.artifact.manifest import file_entry, read_manifest
from escalade.edge.artifact.memory import memory_needed
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.generation import Artifact, SentenceEncoder
from escalade.edge.runtimes.cores import default_threads, physical_cores
from escalade.v1.identity import tokenizer_fingerprint


def describe(root: Path, siblings: dict[int, str]) -> Path:
    for cpu, named in siblings.items():
        folder = root / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(named + "\n")
    return root


@pytest.mark.parametrize(
    ("usable", "siblings", "cores"),
    [
        ({0, 1, 2, 3}, {n: str(n) for n in range(4)}, 4),  # a Raspberry Pi
        ({0, 1, 2, 3}, {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, 2),  # two with two units each
        ({2, 3}, {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, 1),  # bound to the units of one
        ({0, 5}, {}, 2),  # nothing to read
        ({0, 1, 2}, {0: "0-1", 1: "0-1"}, 2),  # one that is not described
    ],
)
def test_cores_are_counted_once_however_many_units_they_have(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    usable: set[int],
    siblings: dict[int, str],
    cores: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: usable)
    assert physical_cores(describe(tmp_path, siblings)) == cores


def test_a_small_model_takes_at_most_four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= default_threads() <= 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(1000, 1064)))
    assert default_threads() == 4
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_threads() == 1


@pytest.fixture(scope="module")
def artifact(float_artifact: Path) -> Artifact:
    return Artifact.open(float_artifact)


@pytest.mark.parametrize("piece", ["a", "a ", "cascade ", "\u4f60", "\u200b", "<sep>"])
def test_a_prompt_of_a_million_tokens_is_refused_before_it_is_tokenized(
    artifact: Artifact, piece: str
) -> None:
    prompt = "g2p: " + piece * 1_000_000
    with pytest.raises(PromptError, match=r"the prompt has \d+ bytes; this model takes at most"):
        artifact.encode(prompt)


def test_a_long_prompt_of_few_tokens_is_read(artifact: Artifact) -> None:
    # The tokenizer drops spaces: bytes alone do not say how many tokens there are.
    spaced = "g2p: c" + " " * 60_000 + "at"
    assert artifact.encode(spaced) == artifact.encode("g2p: cat")
    with pytest.raises(PromptError, match="the prompt has 60005 tokens"):
        artifact.encode("g2p: " + "a" * 60_003)


def test_a_model_that_needs_more_memory_is_refused_before_it_is_loaded(
    float_artifact: Path, tmp_path: Path
) -> None:
    needed = memory_needed(float_artifact, read_manifest(float_artifact)).total
    opened = Artifact.open(float_artifact, max_memory=needed)
    assert opened.generate(opened.encode("g2p: cat"))
    # Neither program nor tokenizer can be read: nobody gets so far as to try.
    folder = Path(shutil.copytree(float_artifact, tmp_path / "artifact"))
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("model.onnx", "tokenizer.json"):
        (folder / name).write_bytes(b"{}")
        entry = file_entry(folder / name)
        manifest["files"][name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    manifest["model"]["tokenizer_fingerprint"] = tokenizer_fingerprint(folder / "tokenizer.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    least = memory_needed(folder, read_manifest(folder)).total
    with pytest.raises(
        ArtifactError, match=rf"needs {least} bytes of memory \(weights \d+.*at most {least - 1}$"
    ):
        Artifact.open(folder, max_memory=least - 1)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: cannot be read"):
        Artifact.open(folder, max_memory=least)


@pytest.mark.parametrize("threads", [-1, 257, 100_000])
def test_threads_that_no_device_has_are_refused(float_artifact: Path, threads: int) -> None:
    with pytest.raises(ArtifactError, match=rf"threads must be in \[0, 256\], got {threads}"):
        Artifact.open(float_artifact, threads=threads)
    with pytest.raises(ArtifactError, match=rf"threads must be in \[0, 256\], got {threads}"):
        SentenceEncoder.open(float_artifact, threads=threads)


def test_an_artifact_opens_where_the_file_system_has_no_locks(
    float_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert Artifact.open(float_artifact).folder == float_artifact.resolve()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert Artifact.open(float_artifact).rule.name == "mean"
