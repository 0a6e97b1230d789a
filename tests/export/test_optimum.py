"""`optimum-cli export escalade` as a process: the same exporter, the same options and errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from escalade.edge.artifact.manifest import read_manifest
from escalade.export.artifact.artifact import export_artifact

REPO = Path(__file__).resolve().parents[2]
BUNDLED = REPO / "training/checkpoints/small-cat-xent"
BIN = Path(sys.executable).parent


def optimum_cli(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "optimum-cli", "export", "escalade", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_hides_optimum_itself() -> None:
    assert list((REPO / "cli/optimum").rglob("__init__.py")) == []


def test_its_help_is_that_of_escalade_export() -> None:
    ours = subprocess.run(
        [BIN / "escalade", "export", "--help"], capture_output=True, text=True, check=True
    )
    assert optimum_cli("--help").stdout == ours.stdout
    assert "--quantize" in ours.stdout


def test_an_error_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    # Golden texts are read before torch is imported.
    done = optimum_cli(BUNDLED, tmp_path / "out", "--golden", tmp_path / "none.jsonl")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "none.jsonl: " in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_writes_what_escalade_export_writes(tmp_path: Path) -> None:
    done = optimum_cli(BUNDLED, tmp_path / "theirs", "--quantize", "int8")
    assert done.returncode == 0, done.stderr
    assert "8-bit weights" in done.stdout
    export_artifact(BUNDLED, tmp_path / "ours", quantize="int8")
    theirs, ours = (read_manifest(tmp_path / name) for name in ("theirs", "ours"))
    assert theirs.files == ours.files
    assert theirs.golden == ours.golden
    assert theirs.quantization.scheme == "int8"
