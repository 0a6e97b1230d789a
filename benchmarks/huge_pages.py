"""What huge pages change: opening, a decode step and memory, with and without, in turns.

    python -m benchmarks.huge_pages ARTIFACT ... --threads 1 2

Each opening has a process of its own. The kernel gives one of two none, as its parent asks (man 2
PR_SET_THP_DISABLE); of a step it is the median over `--steps` behind `--prompt` tokens.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.decode_profile import decoded
from benchmarks.device.machine import description
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.edge.generation import Artifact

_ROLLUP = Path("/proc/self/smaps_rollup")
_PR_SET_THP_DISABLE = 41  # linux/prctl.h
_MB = 1e6


def main() -> None:
    """Measure and print, or, as the process of one opening, measure once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artifact", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", choices=("with", "without"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        if options.once == "without":
            ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
        [folder], [threads] = options.artifact, options.threads
        print(json.dumps(_measure(folder, threads, options.prompt, options.steps)))
        return
    title = f"with huge pages and without, {description()['cpu']}"
    table = Table("artifact, threads", "", "without", "with", "ratio", title=title)
    for folder in options.artifact:
        for threads in options.threads:
            found: dict[str, list[dict[str, float]]] = defaultdict(list)
            for number in range(options.rounds):
                note_console().print(f"{folder.name}, {threads}: round {number + 1}", style="dim")
                for which in ("with", "without")[:: -1 if number % 2 else 1]:
                    command = [sys.executable, "-m", "benchmarks.huge_pages", str(folder)]
                    command += ["--threads", str(threads), "--once", which]
                    command += ["--prompt", str(options.prompt), "--steps", str(options.steps)]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    found[which].append(json.loads(done.stdout))
            for name in found["with"][0]:
                on, off = ([one[name] for one in found[which]] for which in ("with", "without"))
                ratios = [a / b for a, b in zip(on, off, strict=True)] if min(off) > 0 else []
                row = f"{folder.name}, {threads}" if name == "a step, us" else ""
                table.add_row(
                    row, name, *(_spread(one, ",.0f") for one in (off, on)), _spread(ratios, ".2f")
                )
    result_console().print(table)


def _measure(folder: Path, threads: int, prompt: int, steps: int) -> dict[str, float]:
    start = time.perf_counter()
    artifact = Artifact.open(folder, threads=threads)
    opened_s = time.perf_counter() - start
    step_us = decoded(artifact, prompt, steps)
    held = {
        line.partition(":")[0]: 1024 * int(line.split()[1])
        for line in _ROLLUP.read_text().splitlines()[1:]
    }
    return {
        "a step, us": step_us,
        "opening, ms": 1e3 * opened_s,
        "resident, MB": held["Rss"] / _MB,
        "in huge pages, MB": held["AnonHugePages"] / _MB,
    }


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    low, middle, high = (
        format(one, form) for one in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


if __name__ == "__main__":
    main()
