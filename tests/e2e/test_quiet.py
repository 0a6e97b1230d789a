"""Known third-party lines are dropped, every other line of the same logger is not."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from escalade.cli.process.quiet import quiet_third_party

PROGRAM = (
    "from escalade.cli.process.quiet import quiet_third_party as q; q();"
    " import escalade.training.recipes"
)
TORCHAO = "Failed to load /x/torchao/_C_mxfp8.so: Could not load this library"


def test_the_known_line_is_dropped_and_another_is_not(caplog: pytest.LogCaptureFixture) -> None:
    quiet_third_party()
    logger = logging.getLogger("torchao")
    logger.warning("%s", TORCHAO)
    logger.warning("something that matters")
    assert caplog.messages == ["something that matters"]


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
