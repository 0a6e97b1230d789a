"""What lies at the top of the repository: what is known there, and nothing that a run left."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from plan import PARTS, REPO

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")

FOLDERS = {*PARTS, ".ci", "benchmarks", "docs", "protos", "tests"}
FILES = {
    *(".gitignore", ".pre-commit-config.yaml"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("Makefile", "constraints.txt", "pyproject.toml"),
}


def tracked(repo: Path) -> set[str]:
    """Names at the top of a repository that git keeps; skips where it keeps none."""
    git = ["git", "-C", str(repo)]
    top = subprocess.run(
        [*git, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False
    )
    if top.returncode or Path(top.stdout.rstrip("\n")).resolve() != repo.resolve():
        pytest.skip(f"{repo} is no repository of git's")
    listed = subprocess.run([*git, "ls-files", "-z"], capture_output=True, text=True, check=True)
    return {name.partition("/")[0] for name in listed.stdout.split("\0") if name}


def test_nothing_unknown_is_tracked_at_the_top() -> None:
    assert tracked(REPO) == FILES | FOLDERS


def test_a_file_that_a_run_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    for command in (["init", "-q"], ["add", "report.html"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    assert tracked(tmp_path) == {"report.html"}
