"""What the machine is and can do, and what our package takes to import; knows no contestant."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from benchmarks.device.build import REPOSITORY, Peers
from benchmarks.device.llama_builds import cpu_flags

#: Eight times the last cache of most machines, and small beside their memory.
_ARRAY_BYTES = 256 << 20
_SWEEPS = 20
# Nodes of the graph's end, after the logits and the token; see `escalade.export.onnx`.
_OF_THE_SCORE, _REPETITIONS = ("Softmax", "ReduceMax", "Log"), 5
# Clock ticks are 10 ms: below this many of them in a moment, a core counts as idle.
_MOMENT_S, _IDLE = 0.2, 0.1
#: Of what a processor can do, what products of matrices are made with.
_COUNTS = re.compile("^(avx|amx|fma|f16c|bmi2|asimd|sve|sme|i8mm|bf16)")
_CPUINFO = Path("/proc/cpuinfo")
_IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def first_cores(count: int) -> list[int]:
    """Those that so many threads are pinned to."""
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        sys.exit(f"device: {count} threads need as many cores; there are {len(allowed)}")
    return allowed[:count]


def bandwidth(peers: Peers, threads: int) -> float:
    """Bytes a second that so many threads read; see bandwidth.c."""
    cores = ",".join(map(str, first_cores(threads)))
    command = [str(peers.bandwidth), str(_ARRAY_BYTES), str(threads), str(_SWEEPS)]
    done = subprocess.run(
        ["taskset", "-c", cores, *command], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def score_costs(artifact: Path, threads: int) -> list[float]:
    """The share of a decode step that the score's nodes take, of each repetition.

    By onnxruntime's own profiler: one program opened twice differs from itself by up to a tenth, by
    where its weights come to lie, which is many times what the score costs.
    """
    cores = ",".join(map(str, first_cores(threads)))
    module = "benchmarks.decode_profile"
    command = [sys.executable, "-m", module, str(artifact), "--once", "--threads", str(threads)]
    shares = []
    for _ in range(_REPETITIONS):
        done = subprocess.run(
            ["taskset", "-c", cores, *command],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        spent: dict[str, float] = json.loads(done.stdout)
        shares.append(sum(spent[name] for name in _OF_THE_SCORE) / spent["profiled"])
    return shares


def import_seconds(statement: str, runs: int = 5) -> float:
    """Median over fresh interpreters; the first one, which fills the file cache, is left out."""
    command = [sys.executable, "-c", _IMPORT.format(statement)]
    found = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(runs + 1)
    ]
    return statistics.median(found[1:])


def busy_seconds(cores: Iterable[int]) -> float:
    """CPU time that these cores have spent on anything since the system began.

    Time that a hypervisor gave to others counts as spent.
    """
    wanted = {f"cpu{core}" for core in cores}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name in wanted:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, counts[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


class Patience:
    """So many seconds, for a whole run, of waiting for others to leave the cores alone."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait_for_quiet(self, cores: list[int]) -> None:
        """Until these cores have been idle for a moment, or patience has ended."""
        while self._left > 0:
            busy = busy_seconds(cores)
            time.sleep(_MOMENT_S)
            self._left -= _MOMENT_S
            if busy_seconds(cores) - busy < _IDLE * _MOMENT_S * len(cores):
                return


def processor() -> str:
    """Which one it is."""
    first: dict[str, str] = {}
    for line in _CPUINFO.read_text().partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        first[key.strip()] = value.strip()
    name = first.get("model name", platform.machine())
    # A hypervisor may say no more than the maker; these say which processor it is.
    return ", ".join(
        [name, *(f"{key} {first[key]}" for key in ("cpu family", "model") if key in first)]
    )


def description() -> dict[str, str | int]:
    """CPU, cores, system."""
    flags = sorted(flag for flag in cpu_flags(_CPUINFO.read_text()) if _COUNTS.search(flag))
    return {
        "cpu": processor(),
        "instructions it shows": " ".join(flags),
        "cores": os.cpu_count() or 0,
        "cores_allowed": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "compiler": _first_line(["gcc", "--version"]),
        "load_at_start": f"{os.getloadavg()[0]:.2f}",
    }


def versions(peers: Peers) -> dict[str, str]:
    """Ours and the peers'."""
    query = "import importlib.metadata as m; print(m.version('{}'))"
    found = {name: version(name) for name in ("escalade", "numpy", "onnxruntime")}
    for package in ("onnxruntime-genai", "onnxruntime"):
        command = [str(peers.python), "-c", query.format(package)]
        found[f"genai environment: {package}"] = _first_line(command)
    found["llama.cpp"] = f"vendored by {peers.llama_source.parents[1].name}"
    return found


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]
