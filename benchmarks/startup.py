"""How long the front door and the edge take to open; whole processes, warm file cache."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from rich.table import Table

from escalade.cli.output import result_console

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "escalade --help": ["-m", "escalade.cli", "--help"],
    # The face alone loads nothing: names are loaded when they are asked for.
    "from escalade.edge import EdgeClient": ["-c", "from escalade.edge import EdgeClient"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(options.runs + 1):
        for name, arguments in COMMANDS.items():  # in turn, so that a busy moment hits all
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            if run:  # the first one warms the file cache
                seconds[name].append(time.perf_counter() - started)
    if options.json:
        print(json.dumps(seconds, indent=2))
        return
    table = Table("command", "min", "median", "max", title=f"Seconds, {options.runs} runs")
    for name, found in seconds.items():
        table.add_row(name, *(f"{f(found):.3f}" for f in (min, statistics.median, max)))
    result_console().print(table, soft_wrap=False)


if __name__ == "__main__":
    main()
