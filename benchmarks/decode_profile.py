"""Where the time of a decode step goes: operators and shapes, by onnxruntime's own profiler.

    python -m benchmarks.decode_profile ARTIFACT ... --threads 1 2

Each artifact has a process of its own for each number of threads, in turn, over rounds. It reads
`--prompt` tokens, then decodes `--steps`, as the device's runtime does; of each operator the median
over steps, summed over its nodes, in the round that was disturbed least. The profiler takes time at
each node: a step is timed without it too. `between` is what a step takes beyond its nodes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from benchmarks.device.machine import description
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.edge.generation import Artifact

# Before caches and clocks are what they stay.
_FIRST_STEPS = 4
_LEAST_SHARE = 0.01
_BETWEEN = "between"


def main() -> None:
    """Measure and print, or, as the process of one artifact, measure once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artifact", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.once:
        [folder], [threads] = options.artifact, options.threads
        print(json.dumps(measure(folder, threads, options.prompt, options.steps)))
        return
    taken: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(options.rounds):
        for folder in options.artifact:
            for threads in options.threads:
                name = f"{folder.name}, {threads}"
                note_console().print(f"{name} ...", style="dim")
                command = [sys.executable, "-m", "benchmarks.decode_profile", str(folder), "--once"]
                command += ["--threads", str(threads), "--prompt", str(options.prompt)]
                command += ["--steps", str(options.steps)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                taken[name].append(json.loads(done.stdout))
    # Of the round that was disturbed least.
    rows = {name: min(some, key=lambda one: one["profiled"]) for name, some in taken.items()}
    if options.json:
        print(json.dumps({"processor": description()["cpu"], "us": rows}, indent=2))
        return
    _print(rows, options.prompt)


def measure(folder: Path, threads: int, prompt: int, steps: int) -> dict[str, float]:
    """Microseconds of a step, whole and by operator."""
    plain = decoded(Artifact.open(folder, threads=threads), prompt, steps)
    with tempfile.TemporaryDirectory() as scratch:
        profiled = ort.SessionOptions

        def options() -> ort.SessionOptions:
            made = profiled()
            made.enable_profiling = True
            made.profile_file_prefix = str(Path(scratch) / "profile")
            return made

        ort.SessionOptions = options
        artifact = Artifact.open(folder, threads=threads)
        decoded(artifact, prompt, steps)
        found = json.loads(Path(artifact._runtime._session.end_profiling()).read_text())
    runs = [event for event in found if event["name"] == "model_run"]
    nodes = [event for event in found if event["name"].endswith("_kernel_time")]
    stored, by_step = _stored(folder), []
    for run in sorted(runs, key=lambda one: one["ts"])[-(steps - _FIRST_STEPS) :]:
        ends = run["ts"] + run["dur"]
        spent: dict[str, float] = defaultdict(float)
        for node in nodes:
            if run["ts"] <= node["ts"] < ends:
                spent[_label(node["args"], stored)] += node["dur"]
        spent[_BETWEEN] = run["dur"] - sum(spent.values())
        by_step.append(spent)
    median = {key: statistics.median(one[key] for one in by_step) for key in by_step[-1]}
    return {"step": plain, "profiled": sum(median.values())} | median


def decoded(artifact: Artifact, prompt: int, steps: int) -> float:
    """Microseconds of a step, the median."""
    vocabulary = artifact.manifest.model.vocabulary_size
    ids = [(7919 * at) % (vocabulary - 1) + 1 for at in range(prompt)]
    times = []
    for _ in artifact._runtime.generate(ids, steps):
        times.append(time.perf_counter())
    each = [after - before for before, after in itertools.pairwise(times)]
    return 1e6 * statistics.median(each[_FIRST_STEPS:])


def _label(args: Mapping[str, Any], stored: Mapping[tuple[int, int], set[str]]) -> str:
    """An operator, and of a product in blocks the matrix and how it is stored."""
    if args["op_name"] != "MatMulNBits":
        return str(args["op_name"])
    # Of its inputs a profile has no more than what was read: the others were packed.
    (read,), (written,) = (
        args["input_type_shape"][0].values(),
        args["output_type_shape"][0].values(),
    )
    shape = (written[-1], read[-1])
    return f"product {shape[0]:,} x {shape[1]:,}, {' and '.join(sorted(stored[shape]))}"


def _stored(folder: Path) -> dict[tuple[int, int], set[str]]:
    """By rows and columns, in what matrices are."""
    found = defaultdict(set)
    for node in onnx.load(folder / "model.onnx", load_external_data=False).graph.node:
        if node.op_type == "MatMulNBits":
            has = {one.name: one.i for one in node.attribute}
            found[has["N"], has["K"]].add(f"{has['bits']} bits by {has['block_size']}")
    return found


def _print(rows: Mapping[str, Mapping[str, float]], prompt: int) -> None:
    title = f"microseconds of a step after {prompt} tokens, {description()['cpu']}"
    table = Table("artifact, threads", "operator", "us", "share", title=title)
    for name, row in rows.items():
        table.add_row(name, "a step, not profiled", f"{row['step']:,.0f}", "", style="bold")
        parts = {key: spent for key, spent in row.items() if key not in {"step", "profiled"}}
        for key in _most(parts, row["profiled"]):
            table.add_row("", key, f"{parts[key]:,.0f}", f"{parts[key] / row['profiled']:.1%}")
    result_console().print(table)


def _most(parts: Mapping[str, float], whole: float) -> Sequence[str]:
    some = [key for key, spent in parts.items() if spent >= _LEAST_SHARE * whole]
    return sorted(some, key=lambda key: -parts[key])


if __name__ == "__main__":
    main()
