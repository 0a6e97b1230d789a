"""A server keeps nothing of calls that were cancelled; a leak that is planted is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def soaked(*options: str) -> tuple[int, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "soak", *options],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


@pytest.mark.slow
def test_cancelled_calls_leave_nothing_behind() -> None:
    code, found = soaked("--cancelled", "2000")
    assert (code, found["leaks"]) == (0, [])
    assert found["ends"]["left"] > 1000


@pytest.mark.slow
def test_a_planted_leak_is_seen() -> None:
    code, found = soaked("--cancelled", "2000", "--leak", str(1 << 19))
    assert code == 1
    assert any("memory" in one for one in found["leaks"])
