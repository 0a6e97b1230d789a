"""Makes the study's runs, each once; knows no budget and no table."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.study_online.settings import Case, Settings, configuration
from benchmarks.study_online.streams import shifted

from escalade.cli.learning_rows import learned_run
from escalade.edge.base import atomic_write
from escalade.simulator.learning import LearnedRun
from escalade.training.online import learn_stream


class MissingError(Exception):
    """A run is not there, and was not to be made."""


class _Kept(msgspec.Struct, frozen=True):
    """A run, and what it was told."""

    told: dict[str, Any]
    run: LearnedRun


def run_of(settings: Settings, case: Case, *, make: bool = True) -> LearnedRun:
    """A run, made if it was not; one that was cut off goes on where it was.

    Raises:
        MissingError: it is not there, and was not to be made.
        SystemExit: it is there, of other settings.
    """
    path = settings.out / "runs" / f"{case.key}.json"
    told = configuration(settings, case)
    plain = msgspec.json.decode(msgspec.json.encode(told))
    for level in plain["level"]:
        for may_change in ("path", "device"):  # where an encoder lies, and where it runs
            level.pop(may_change, None)
    if path.exists():
        return _read(path, plain)
    if not make:
        raise MissingError(case.key)
    working = settings.out / "working" / case.key
    started = time.time()
    learn_stream(told, _source(settings, case), working)
    run = learned_run(working, case.key)
    keep(path, _Kept(plain, run))
    shutil.rmtree(working)
    accuracy = 0.0 if run.accuracy is None else 100 * run.accuracy
    say(f"{case.key}: {run.calls} calls, {accuracy:.2f} %, {time.time() - started:.0f} s")
    return run


def _read(path: Path, told: dict[str, Any]) -> LearnedRun:
    with suppress(msgspec.DecodeError):
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        if kept.told == told:
            return kept.run
    sys.exit(f"study-online: {path} was made with other settings; name another folder with --out")


def _source(settings: Settings, case: Case) -> Path:
    """The stream's file; of a shifted one its measured half, written aside."""
    file = settings.file(case.stream)
    if not case.shift:
        return file
    path = settings.out / "shifted" / f"{case.stream}-{case.shift}-{case.seed}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(shifted(file, case.shift, case.seed))
    return path


def keep(path: Path, found: msgspec.Struct) -> None:
    """Write what need not be found again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(msgspec.json.encode(found))


def say(text: str) -> None:
    """A line of the log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
