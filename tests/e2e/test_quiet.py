"""Known third-party lines are dropped, every other line of the same logger is not."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from escalade.cli.process.quiet import quiet_third_party

PROGRAM = (
    "from escalade.cli.process.quiet import quiet_third_party as q; q();"
    " import escalade.training.recipes"
)
TORCHAO = "Failed to load /x/torchao/_C_mxfp8.so: Could not load this library"


class ListHandler(logging.Handler):
    """Keeps what is said; caplog hears nothing of transformers, which keeps it from the root."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_the_known_line_is_dropped_and_another_is_not(caplog: pytest.LogCaptureFixture) -> None:
    quiet_third_party()
    logger = logging.getLogger("torchao")
    logger.warning("%s", TORCHAO)
    logger.warning("something that matters")
    assert caplog.messages == ["something that matters"]


def test_checkpoints_within_a_second_are_no_news(tmp_path: Path) -> None:
    from transformers.trainer_utils import sort_checkpoints
    from transformers.utils.logging import warning_once

    heard = ListHandler()
    logger = logging.getLogger("transformers.trainer_utils")
    logger.addHandler(heard)
    quiet_third_party()
    folders = [tmp_path / f"checkpoint-{step}" for step in (1, 2)]
    for folder in folders:
        folder.mkdir()
    try:
        warning_once.cache_clear()  # as if it was not said before
        found = sort_checkpoints(str(tmp_path), use_mtime=True)
        logger.warning("something that matters")
    finally:
        logger.removeHandler(heard)
    assert found == [str(folder) for folder in folders]
    assert heard.said == ["something that matters"]


def test_calling_it_again_adds_no_second_filter() -> None:
    quiet_third_party()
    before = list(logging.getLogger("torchao").filters)
    quiet_third_party()
    assert logging.getLogger("torchao").filters == before


@pytest.mark.slow
def test_importing_the_trainer_prints_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert done.stderr == ""
