"""The process that learns: started again when it ends, heard, and ended with the gateway."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from threading import Event

import pytest

from escalade.cli.learning.supervising import Progress, Supervisor
from escalade.training.errors import RecipeError

SAYS = """
import sys
print('{"taken":7,"versions":2}', flush=True)
print("no version was published: the disk is full", flush=True)
"""


def test_one_that_ends_is_started_again_later_and_later_until_it_says_something(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The first says how far it is, then three nothing, and those after them."""
    script = f"""
import pathlib, sys
runs = pathlib.Path({str(tmp_path / "runs")!r})
count = len(runs.read_text()) if runs.exists() else 0
runs.write_text("." * (count + 1))
if 0 < count < 4:
    sys.exit("learn.toml: cannot be read")
{SAYS}"""
    waits = list[float]()

    def pause(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 6

    with caplog.at_level(logging.WARNING):
        supervisor = Supervisor([], command=(sys.executable, "-c", script), pause=pause)
        supervisor.start()
        supervisor.join(60.0)
    assert waits == [1.0, 2.0, 4.0, 8.0, 1.0, 1.0]
    assert supervisor.restarts == 5
    assert supervisor.progress == Progress(taken=7, versions=2)
    assert "learner: learn.toml: cannot be read" in caplog.messages
    assert "learner: no version was published: the disk is full" in caplog.messages
    assert "the learner ended; it is started again in 8 s" in caplog.messages


def test_one_that_ends_before_it_is_ready_is_not_started_again(tmp_path: Path) -> None:
    script = "print('a library: a warning'); raise SystemExit('encoder bert: cannot be loaded')"
    supervisor = Supervisor([], command=(sys.executable, "-c", script))
    with pytest.raises(RecipeError, match=r"^encoder bert: cannot be loaded$"):
        supervisor.start()
    supervisor = Supervisor([], command=(str(tmp_path / "none"),))
    with pytest.raises(RecipeError, match="the learner cannot be started"):
        supervisor.start()


def test_it_ends_with_the_gateway(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    script = f"""
import os, pathlib, signal
os.write(1, b'{{"taken":1}}\\n')
pathlib.Path({str(said)!r}).write_text(str(os.getpid()))
signal.pause()
"""
    supervisor = Supervisor([], command=(sys.executable, "-c", script))
    supervisor.start()
    waited = Event()
    while not (said.exists() and said.read_text()):
        waited.wait(0.01)
    supervisor.close()
    supervisor.join(60.0)
    assert supervisor.restarts == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)
