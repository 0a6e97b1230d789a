"""Artifacts to install, and where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Version = Callable[[str], Path]


@pytest.fixture
def version(float_artifact: Path, tmp_path: Path) -> Version:
    """A copy of the artifact with its own model name, so with a manifest of its own."""

    def make(name: str) -> Path:
        folder = tmp_path / "sources" / name
        if not folder.exists():
            shutil.copytree(float_artifact, folder)
            content = json.loads((folder / "manifest.json").read_text())
            content["model"]["name"] = name
            (folder / "manifest.json").write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"
