"""`escalade demo --web` as a user types it: a page that answers, and nothing left when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from web_site import ask, ready

pytestmark = pytest.mark.web


def test_the_demo_serves_a_page_and_ends_with_a_signal(opened: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "escalade.cli", "demo", "--web", "--web-port", "0"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        start_new_session=True,
    ) as demo:
        assert demo.stderr is not None
        lines = []
        for line in demo.stderr:
            lines.append(line)
            if "the page is on " in line:
                break
        assert demo.poll() is None, lines
        url = lines[-1].split("the page is on ")[1].split(" ")[0]
        with opened(url) as page:
            assert "small-cat-xent" in ready(page)
            assert "Answered by large" in ask(page, "queue")
        demo.send_signal(signal.SIGTERM)
        demo.stderr.read()
        assert demo.wait(60) == 0
    # The server had a session of its own, and was told to stop.
    server = f"allow-origin {url.rstrip('/')}"
    found = subprocess.run(["pgrep", "-f", server], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_page_that_is_not_there_is_said_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "escalade.cli", "demo", "--web", "--page", str(tmp_path)]
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "run `make web`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()
