"""What a trace of a million queries takes of a machine: `python -m benchmarks.long_trace TRACE`.

A recorded trace of three tiers is written over and over, each query under an id of its own, and
each verb that reads one is run on it as a process: seconds, and the most memory that it had.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from escalade.cli.output import note_console, progress_bar
from escalade.cli.tables import show_table
from escalade.edge.trace import read_trace, write_trace
from escalade.simulator.formats import Cell, TextTable

VERBS = ("simulate", "plan", "evaluate")
_MIB_KIB = 1024


def main() -> None:
    """Write the long trace, run the verbs, print a table."""
    parser = argparse.ArgumentParser(prog="long-trace", description=__doc__)
    parser.add_argument("trace", type=Path, help="of `escalade record`; its times are replayed")
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS, help="that are run")
    options = parser.parse_args()
    if options.queries < 1:
        parser.error(f"--queries: must be at least 1, got {options.queries}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.jsonl"
        write_long(options.trace, path, options.queries)
        replayed = [str(path), "--profile", "lte"]
        verbs = {
            "simulate": [*replayed, "--out", f"{folder}/report.html"],
            "plan": [*replayed, "--p95-ms", "300"],
            "evaluate": [str(path)],
        }
        rows = [[Cell(verb), *map(Cell, measured(verb, verbs[verb]))] for verb in options.verbs]
    title = f"A trace of {options.queries:,} queries"
    show_table(TextTable(title, ["escalade", "seconds", "of a core", "MiB"], rows))


def write_long(recorded: Path, path: Path, queries: int) -> None:
    """A trace of so many queries, at least 1, made of those of another in turn."""
    trace = read_trace(recorded)
    with progress_bar("writing") as tick:

        def told(k: int) -> int:
            if k % 1000 == 0:
                tick(k, queries)
            return k % len(trace.records)

        rows = (
            msgspec.structs.replace(trace.records[told(k)], id=f"query {k}") for k in range(queries)
        )
        write_trace(path, trace.header, rows)


def measured(verb: str, arguments: list[str]) -> tuple[str, str, str]:
    """Run a verb: seconds that it took, those of a core, and MiB that it had at most."""
    note_console().print(f"{verb} ...")
    began_s = time.monotonic()
    command = [sys.executable, "-m", "escalade.cli", verb, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took_s = time.monotonic() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{verb}: exit code {process.returncode}")
    core_s = used.ru_utime + used.ru_stime
    return f"{took_s:.0f}", f"{core_s:.0f}", f"{used.ru_maxrss / _MIB_KIB:.0f}"


if __name__ == "__main__":
    main()
