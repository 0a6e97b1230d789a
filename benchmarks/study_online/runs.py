"""Makes the study's runs, each once, and seeks settings that come to a budget; knows no table."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.study_online.settings import (
    EXPERTS,
    STREAMS,
    Case,
    Levels,
    Settings,
    configuration,
    items_of,
    labels_of,
)
from pyarrow import parquet

from escalade.cli.learning_rows import learned_run
from escalade.edge.base import atomic_write
from escalade.simulator.learning import LearnedRun
from escalade.training.online import learn_stream

#: mu below which everything is deferred, and above which nothing is.
_MU = (2e-5, 8e-3)


class MissingError(Exception):
    """A run is not there, and was not to be made."""


class Share(NamedTuple):
    """What one process does: every `of`-th group, from `number` on."""

    number: int = 0
    of: int = 1


class Chosen(NamedTuple):
    """The run that comes nearest to a budget."""

    case: Case
    run: LearnedRun

    @property
    def calls(self) -> int:
        """Labels of the first half included."""
        return self.run.calls


def run_of(settings: Settings, case: Case, *, make: bool = True) -> LearnedRun:
    """A run, made if it was not; one that was cut off goes on where it was.

    Raises:
        MissingError: it is not there, and was not to be made.
    """
    kept = settings.out / "runs" / f"{case.key}.json"
    if not kept.exists() and not make:
        raise MissingError(case.key)
    if not kept.exists():
        working = settings.out / "working" / case.key
        started = time.time()
        learn_stream(configuration(settings, case), _source(settings, case), working)
        run = learned_run(working, case.key)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as stream:
            stream.write(msgspec.json.encode(run))
        shutil.rmtree(working)
        accuracy = 0.0 if run.accuracy is None else 100 * run.accuracy
        say(f"{case.key}: {run.calls} calls, {accuracy:.2f} %, {time.time() - started:.0f} s")
    return msgspec.json.decode(kept.read_bytes(), type=LearnedRun)


def _source(settings: Settings, case: Case) -> Path:
    """The stream's file; of a shifted one its measured half, in order, written aside."""
    source = settings.data / f"{case.stream}.parquet"
    if not case.shifted:
        return source
    path = settings.out / "working" / f"{case.key}.jsonl"
    rows = parquet.read_table(source).to_pylist()
    order = np.random.default_rng(case.seed).permutation(len(rows))[len(rows) // 2 :]
    classes, middle = len(labels_of(settings, case.stream)), len(order) // 2
    lines = []
    for place, k in enumerate(order.tolist()):
        row = rows[k]
        if place >= middle:
            for column in ("gold", *EXPERTS):
                if row[column] >= 0:
                    row[column] = (row[column] + 1) % classes
        lines.append(msgspec.json.encode(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def at_budget(settings: Settings, case: Case, budget: int, *, make: bool = True) -> Chosen:
    """The run of a method whose calls come nearest to a budget, sought by bisection.

    Only calls decide; nobody looks at an accuracy. More mu gives fewer calls, more confidence more.

    Raises:
        MissingError: a run is not there, and none was to be made.
    """
    half = items_of(settings, case.stream) - items_of(settings, case.stream) // 2
    if case.method == "distilled":
        case = case._replace(taught=budget)
    if case.method == "ensemble":
        case = case._replace(knob=budget / half)
    if case.method in ("distilled", "ensemble", "expert"):
        return Chosen(case, run_of(settings, case, make=make))
    if case.method == "threshold":
        case = case._replace(taught=budget // 2)
    best: Chosen | None = None
    found: Chosen | None = None
    for knob in _knobs(settings, case, budget, make=make):
        tried = case._replace(knob=knob)
        before, found = found, Chosen(tried, run_of(settings, tried, make=make))
        if best is None or abs(found.calls - budget) < abs(best.calls - budget):
            best = found
        near = abs(found.calls - budget) <= settings.nearness * budget
        if near or (before is not None and before.calls == found.calls):
            break  # there, or at an end: nothing is deferred, or everything
    if best is None:
        raise ValueError(f"{case.key}: nothing was tried")
    return best


def _knobs(settings: Settings, case: Case, budget: int, *, make: bool) -> Iterator[float]:
    """Bisection, in the logarithm of mu; what was tried is read again."""
    low, high = _MU if case.method == "cascade" else (0.0, 1.0)
    for _ in range(settings.most_tries):
        middle = math.sqrt(low * high) if case.method == "cascade" else (low + high) / 2
        knob = float(f"{middle:.4g}")
        yield knob
        calls = run_of(settings, case._replace(knob=knob), make=make).calls
        if (calls > budget) == (case.method == "cascade"):
            low = knob
        else:
            high = knob


def cases(settings: Settings) -> Iterator[tuple[Case, int]]:
    """All that the study compares, each with its budget; first seeds and cheap levels first."""
    for seed in settings.seeds:
        for levels in settings.levels:
            for name in settings.streams:
                for expert in settings.experts:
                    for budget in STREAMS[name].budgets:
                        for case in methods(name, expert, seed, levels):
                            yield case, budget


def methods(stream: str, expert: str, seed: int, levels: Levels) -> Iterator[Case]:
    """Those of one row of the paper's table."""
    case = Case(stream, expert, seed, levels, "cascade")
    yield case
    yield case._replace(method="ensemble")
    yield case._replace(method="threshold")
    level = "linear" if levels == "linear" else "encoder"
    yield case._replace(method="distilled", level=level)
    if levels == "linear":
        yield case._replace(method="expert")


def work(settings: Settings, share: Share) -> None:
    """Make one process's runs."""
    groups: dict[tuple[object, ...], list[tuple[Case, int]]] = {}
    for case, budget in cases(settings):
        groups.setdefault((case.seed, case.levels, case.stream, case.expert), []).append(
            (case, budget)
        )
    for group in list(groups.values())[share.number :: share.of]:
        for case, budget in group:
            at_budget(settings, case, budget)
        audited(settings, group[0][0])
        audited(settings, group[0][0], shifted=True)


def audited(
    settings: Settings, case: Case, *, shifted: bool = False, make: bool = True
) -> LearnedRun:
    """The cascade at its middle budget once more, with an audit.

    Raises:
        MissingError: it is not there, and was not to be made.
    """
    budget = STREAMS[case.stream].budgets[1]
    plain = case._replace(method="cascade", level="")
    chosen = at_budget(settings, plain, budget, make=make)
    return run_of(settings, chosen.case._replace(audited=True, shifted=shifted), make=make)


def say(text: str) -> None:
    """A line of the log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
