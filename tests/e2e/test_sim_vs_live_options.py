"""What `python -m benchmarks.sim_vs_live` refuses before it measures anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from live_runs import REPO


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--queries", "0", "--queries: must be at least 1, got 0"),
        ("--calls", "0", "--calls: must be at least 1, got 0"),
        ("--rounds", "0", "--rounds: must be at least 1, got 0"),
        ("--rounds", "-1", "--rounds: must be at least 1, got -1"),
        ("--parts", "0", "--parts: must be at least 1, got 0"),
        ("--seed", "-1", "--seed: must be at least 0, got -1"),
        ("--share", "nan", "--share: must be above 0 and finite, got nan"),
    ],
)
def test_too_few_of_anything_are_one_line(
    tmp_path: Path, option: str, value: str, says: str
) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sim_vs_live", f"{option}={value}", "--out", str(out)],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"sim-vs-live: error: {says}"
    assert not out.exists()
