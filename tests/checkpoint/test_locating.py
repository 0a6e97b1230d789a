"""Where a model is looked for: on this machine, and on the hub only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.checkpoint import CheckpointError, locate


@pytest.mark.parametrize("typed", ["checkpoints/large", "./large", "/nowhere/large", "org/large"])
def test_a_folder_that_is_not_there_is_looked_up_nowhere_else(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder") as refused:
        locate(typed)
    assert str(refused.value).startswith(f"{typed}: ")


def test_a_folder_is_called_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").mkdir()
    monkeypatch.chdir(tmp_path / "large")
    assert locate(".") == ("large", Path())


def test_a_model_that_the_hub_does_not_have_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="^nobody/nothing: no model on the hub: ") as refused:
        locate("hub:nobody/nothing")
    assert "\n" not in str(refused.value)
