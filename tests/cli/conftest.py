"""Runs the command line in the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from escalade.cli.main import run

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run `escalade ARGUMENTS` in this process; gives (exit code, stdout, stderr)."""

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["escalade", *map(str, arguments)])
        code = 0
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke
