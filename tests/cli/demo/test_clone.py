"""What a clone keeps is found from the code in it, and else from where we are."""

from __future__ import annotations

from pathlib import Path

from escalade.cli.demo.clone import in_clone


def test_a_wheel_that_is_installed_takes_the_clone_we_are_in(tmp_path: Path) -> None:
    assert in_clone("training", "checkpoints", code=tmp_path) == Path("training/checkpoints")
    (tmp_path / "pyproject.toml").touch()
    found = in_clone("training", "checkpoints", code=tmp_path)
    assert found == tmp_path / "training/checkpoints"


def test_this_code_finds_the_clone_that_it_is_in() -> None:
    assert (in_clone("training", "checkpoints") / "large" / "config.json").is_file()
