"""Seeks settings that come to a budget of calls; knows no accuracy and no table.

More mu gives fewer calls, more confidence more: along a place that is -log mu, or the confidence
itself, calls rise. They are interpolated between runs on both sides of the budget; where one side
has none, earlier seeds say how far to go.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.study_online.runs import MissingError, keep, run_of
from benchmarks.study_online.settings import LEVELS, Case, Settings
from benchmarks.study_online.streams import STREAMS, items_of, labels_of
from sklearn.isotonic import IsotonicRegression

from escalade.simulator.learning import LearnedRun

#: Methods with a setting that is sought.
_SOUGHT = ("cascade", "threshold")
#: mu above which nothing is deferred, and below which everything is.
_MU = (8e-3, 2e-5)
# Of a bracket, next to its ends, where nothing is tried: each try takes away as much at least.
_MARGIN = 0.1


class Chosen(NamedTuple):
    """The run that comes nearest to a budget."""

    case: Case
    run: LearnedRun


class _Tried(msgspec.Struct, frozen=True):
    knob: float
    calls: int


class _Sought(msgspec.Struct, frozen=True):
    """What came of a search; kept in a file."""

    knob: float
    tried: list[_Tried]


class _Point(NamedTuple):
    place: float
    #: Without those that teach.
    calls: int


def at_budget(settings: Settings, case: Case, budget: int, *, make: bool = True) -> Chosen:
    """The run of a method whose calls, those that teach included, come nearest to a budget.

    Raises:
        MissingError: a run is not there, and none was to be made.
    """
    case = _taught(case, budget)
    if case.method == "ensemble":
        case = case._replace(knob=budget / _measured(settings, case))
    if case.method in _SOUGHT:
        path = _path(settings, case, budget)
        if not path.exists():
            if not make:
                raise MissingError(path.stem)
            keep(path, _seek(settings, case, budget))
        case = case._replace(knob=_read(path).knob)
    return Chosen(case, run_of(settings, case, make=make))


def _taught(case: Case, budget: int) -> Case:
    if case.method == "distilled":
        return case._replace(taught=budget)
    return case._replace(taught=budget // 2) if case.method == "threshold" else case


def _seek(settings: Settings, case: Case, budget: int) -> _Sought:
    """Try until calls are near enough; what is tried depends on earlier searches alone."""
    known, curve = _before(settings, case)
    ends = _ends(settings, case)
    tried: list[_Tried] = []
    while True:
        low, high = _bracket([*ends, *(_point(case, one) for one in known)], budget - case.taught)
        best = min(known, key=lambda one: abs(one.calls - budget), default=None)
        one_sided = low in ends or high in ends
        enough = len(tried) == settings.most_tries or (
            # Nothing is deferred, or everything.
            one_sided and len(tried) > 1 and tried[-1].calls == tried[-2].calls
        )
        if best and (enough or abs(best.calls - budget) <= settings.nearness * budget):
            return _Sought(best.knob, tried)
        aim = (low.place + high.place) / 2
        above = [one.calls > budget for one in tried[-2:]]
        # Interpolation alone may come nearer from one side only.
        if not one_sided and (len(above) < 2 or above[0] != above[1]):
            aim = _place_of([low, high], budget - case.taught)
        elif one_sided and curve:
            aim = _place_of([*ends, *curve], budget - case.taught)
            if known:
                last = high if low in ends else low
                aim += last.place - _place_of([*ends, *curve], last.calls)
        margin = _MARGIN * (high.place - low.place)
        knob = _knob(case, min(max(aim, low.place + margin), high.place - margin))
        tried.append(_Tried(knob, run_of(settings, case._replace(knob=knob)).calls))
        known.append(tried[-1])


def _before(settings: Settings, case: Case) -> tuple[list[_Tried], list[_Point]]:
    """What was tried of the same levels for other budgets; and of others that are like them."""
    same: list[_Tried] = []
    like: list[_Point] = []
    seeds = settings.seeds[: settings.seeds.index(case.seed) + 1]
    for levels in filter(None, (case.levels, LEVELS[case.levels].like)):
        for seed, budget in itertools.product(seeds, STREAMS[case.stream].budgets):
            other = _taught(case._replace(seed=seed, levels=levels), budget)
            path = _path(settings, other, budget)
            tried = _read(path).tried if path.exists() else []
            if other == case:
                same += tried
            else:
                like += [_point(other, one) for one in tried]
    return same, like


def _bracket(points: Sequence[_Point], budget: int) -> tuple[_Point, _Point]:
    """Neighbours on both sides of the budget; the nearest, where calls do not always rise."""
    pairs = itertools.pairwise(sorted(points))
    around = [(low, high) for low, high in pairs if low.calls <= budget < high.calls]
    return min(around, key=lambda pair: pair[1].calls - pair[0].calls)


def _place_of(points: Sequence[_Point], calls: int) -> float:
    """Where so many calls are, on a curve that rises through points."""
    places, counts = zip(*sorted(points), strict=True)
    return float(np.interp(calls, IsotonicRegression().fit_transform(places, counts), places))


def _ends(settings: Settings, case: Case) -> list[_Point]:
    # No class is the likeliest of K with less than 1 / K.
    sure = (1 / len(labels_of(settings.file(case.stream))), 1.0)
    least, most = (_place(case, knob) for knob in (_MU if case.method == "cascade" else sure))
    # One more than there are: so that all of them is below.
    return [_Point(least, 0), _Point(most, _measured(settings, case) + 1)]


def _point(case: Case, tried: _Tried) -> _Point:
    return _Point(_place(case, tried.knob), tried.calls - case.taught)


def _place(case: Case, knob: float) -> float:
    return -math.log(knob) if case.method == "cascade" else knob


def _knob(case: Case, place: float) -> float:
    """Of four digits."""
    return float(f"{math.exp(-place) if case.method == 'cascade' else place:.4g}")


def _measured(settings: Settings, case: Case) -> int:
    items = items_of(settings.file(case.stream))
    return items - items // 2


def _path(settings: Settings, case: Case, budget: int) -> Path:
    return settings.out / "budgets" / f"{case.key}-{budget}.json"


def _read(path: Path) -> _Sought:
    return msgspec.json.decode(path.read_bytes(), type=_Sought)
