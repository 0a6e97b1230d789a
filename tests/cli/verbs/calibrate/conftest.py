"""An artifact, a cascade of it and a large model, and a trace in which it is mostly right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_traces import cloud, device, header, record, tier_answer

from escalade.edge.artifact import program_digest
from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    read_manifest,
)
from escalade.edge.generation.artifact import Artifact
from escalade.edge.trace import (
    TraceRecord,
    write_trace,
)


@pytest.fixture
def artifact(int8_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_artifact, tmp_path / "artifact"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    lines = [
        json.dumps({"id": w, "task": "g2p", "prompt": f"g2p: {w}", "references": ["x"]})
        for w in ("cat", "dog", "banana", "zebra", "apple", "pear")
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def trace(artifact: Path, tmp_path: Path) -> Path:
    """400 queries: the artifact's own answers; it is mostly right where it is surer."""
    opened = Artifact.open(artifact)
    generator = np.random.default_rng(1)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def answered(number: int) -> TraceRecord:
        word = "".join(letters[k] for k in generator.integers(26, size=4))
        ids = opened.encode(f"g2p: {word}")
        steps = opened.generate(ids, 6)
        logprobs = [step.logprob for step in steps]
        right = bool(generator.random() < np.exp(np.mean(logprobs)) ** 0.2)
        return record(
            str(number),
            tier_answer(opened.text_of(steps), logprobs, prompt_tokens=len(ids), correct=right),
            tier_answer("x", [], correct=bool(generator.random() < 0.97)),
            prompt=f"g2p: {word}",
            references=["x"],
            answered_by=1,
        )

    manifest = opened.manifest
    short = msgspec.structs.replace(manifest.model, max_new_tokens=6)
    path = artifact / MANIFEST_NAME
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, model=short)))
    small = device(0.0, program=program_digest(read_manifest(artifact)))
    out = tmp_path / "trace.jsonl"
    write_trace(out, header(small, cloud()), [answered(number) for number in range(400)])
    return out


@pytest.fixture
def cascade(artifact: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cascade.toml"
    path.write_text(
        "# at home\n"
        '[[tiers]]\nname = "small"\nmembers = ["artifact"]\n\n'
        '[[tiers]]\nname = "large"\naddress = "127.0.0.1:1"\ngenerated_price = 2\n'
    )
    return path
