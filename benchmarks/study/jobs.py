"""Several processes that share one study's runs and the machine; knows no study.

A study's command starts itself again, with `--worker NUMBER`: see `add_options`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]


class Share(NamedTuple):
    """What one process does: every `of`-th piece, from `number` on."""

    number: int = 0
    of: int = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `take_share` and `run_workers`."""
    parser.add_argument("--jobs", type=int, default=2, help="processes at the same time")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)


def take_share(options: argparse.Namespace) -> Share | None:
    """What this process does, with its part of the cores; None where it is no worker.

    Before numpy or torch is imported: their thread pools are sized then.
    """
    if options.worker is None:
        return None
    os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // options.jobs, 1))
    return Share(options.worker, options.jobs)


def keep_settings(out: Path, settings: Mapping[str, str]) -> None:
    """Refuse a study's folder that holds runs under other settings; keep those of a new one."""
    path = out / "settings.json"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1) + "\n")
    found = json.loads(path.read_text())
    for name, value in settings.items():
        if found.get(name) != value:
            sys.exit(
                f"{out} holds runs with {name} {found.get(name)}, not {value};"
                " name another folder with --out"
            )


def run_workers(module: str, jobs: int) -> float:
    """Run a study's command as workers, with this process's arguments; gives the minutes."""
    started = time.time()
    command = [sys.executable, "-m", module, *sys.argv[1:], "--worker"]
    workers = [subprocess.Popen([*command, str(number)], cwd=REPOSITORY) for number in range(jobs)]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        sys.exit(f"{module}: a worker failed; run the command again to go on")
    return (time.time() - started) / 60
