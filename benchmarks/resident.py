"""What a process holds that has one artifact open, and how soon it answers.

    python -m benchmarks.resident ARTIFACT ...

Each has a process of its own. Resident memory (Linux, /proc/self/status) is that after the imports,
after opening, and after an answer of 16 tokens; of that what is of files, which the kernel may drop
and read again, and of these the artifact's own. Seconds to open, and from there to the first token
of a prompt of 5 words. Artifacts take turns, medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.device.artifacts import program_bytes
from benchmarks.device.machine import processor
from rich.table import Table

from escalade.cli.output import result_console
from escalade.edge.artifact import load_manifest

# Runs in a process of its own: {name: number}, bytes and seconds.
_HELD = """
import json, sys, time
from pathlib import Path

import numpy, onnxruntime
from escalade.edge.generation import Artifact


def held(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return 1024 * int(line.split()[1])


found = {"imports": held("VmRSS")}
began = time.perf_counter()
artifact = Artifact.open(Path(sys.argv[1]), threads=int(sys.argv[2]))
found["open_s"] = time.perf_counter() - began
found["opened"] = held("VmRSS")
began = time.perf_counter()
generation = artifact.stream(artifact.encode("The capital of France is"), 16)
next(generation)
found["first_token_s"] = time.perf_counter() - began
generation.run()
found["answered"], found["of_files"] = held("VmRSS"), held("RssFile")
found["of_program"], ours = 0, False
for line in open("/proc/self/smaps"):
    words = line.split()
    if not words[0].endswith(":"):
        ours = words[-1].startswith(str(Path(sys.argv[1]).resolve()))
    elif ours and words[0] == "Rss:":
        found["of_program"] += 1024 * int(words[1])
print(json.dumps(found))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artifact", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    taken: dict[Path, list[dict[str, float]]] = {folder: [] for folder in options.artifact}
    for _ in range(options.rounds):
        for folder, those in taken.items():
            command = [sys.executable, "-c", _HELD, str(folder), str(options.threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            those.append(json.loads(done.stdout))
    rows = {}
    for folder, those in taken.items():
        weights = program_bytes(load_manifest(folder))
        row = {name: statistics.median(one[name] for one in those) for name in those[0]}
        rows[str(folder)] = row | {"weights": weights, "over_weights": row["answered"] - weights}
    if options.json:
        print(json.dumps({"processor": processor(), "artifacts": rows}, indent=2))
        return
    sizes = ("weights", "imports", "opened", "answered", "of_files", "of_program", "over_weights")
    heads = [f"{name.replace('_', ' ')}, MB" for name in sizes]
    table = Table("artifact", *heads, "open, s", "first token, ms", title=processor())
    for name, row in rows.items():
        held = [f"{row[size] / 1e6:.0f}" for size in sizes]
        first = f"{1e3 * row['first_token_s']:.0f}"
        table.add_row(name, *held, f"{row['open_s']:.2f}", first)
    result_console().print(table, soft_wrap=False)


if __name__ == "__main__":
    main()
