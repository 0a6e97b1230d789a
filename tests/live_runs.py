"""Runs `benchmarks.sim_vs_live` as a user runs it, and judges what it prints.

A machine of two cores that others share is off by more than the simulator, which is within 5 % on
an idle one (docs/results-simulator.md): bounds are what noise does not come to, and what a round
trip that is left out goes beyond.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
#: 95 % intervals of an error must come as close to 0.
_OFF = 0.1
#: One of a thousand samples is so far, times the root of its size, from what it is drawn of
#: (Kolmogorov). Live and virtual queries are the same ones, which brings them nearer.
_FAR = math.sqrt(-math.log(0.001 / 2) / 2)


def held_against_live(folder: Path, asked: str) -> dict[str, Any]:
    """What a run of those options finds; the device's models have 8 bits, exported in a second."""
    always = f"--scheme int8 --no-machine --json --out {folder}"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sim_vs_live", *asked.split(), *always.split()],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def assert_close(row: dict[str, Any], statistic: str) -> None:
    error = row["error"][statistic]
    said = f"{row['profile']}, {row['tiers']} tiers, {row['load']}: {statistic}: {error}"
    assert error["low"] < _OFF, said
    assert error["high"] > -_OFF, said


def assert_alike(row: dict[str, Any]) -> None:
    """By the distance of the two distribution functions; virtual time's is of many draws."""
    said = f"{row['profile']}, {row['tiers']} tiers, {row['load']}: {row['ks']}"
    assert row["ks"]["value"] < _FAR / math.sqrt(row["queries"]), said
