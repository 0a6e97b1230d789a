"""All runs of the study, and which process makes which; knows no table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.study.jobs import Share
from benchmarks.study_online.budgets import at_budget
from benchmarks.study_online.runs import run_of
from benchmarks.study_online.settings import LEVELS, Case, Settings
from benchmarks.study_online.streams import STREAMS, Shift

from escalade.simulator.learning import LearnedRun


def work(settings: Settings, share: Share) -> None:
    """Make one process's runs; cheap levels first.

    A process has all seeds of a group, one after the other: a search starts from earlier seeds'.
    """
    groups = itertools.product(settings.levels, settings.streams, settings.experts)
    for levels, stream, expert in itertools.islice(groups, share.number, None, share.of):
        for seed in settings.seeds:
            _seed(settings, Case(stream, expert, seed, levels, "cascade"))


def _seed(settings: Settings, cascade: Case) -> None:
    stream = STREAMS[cascade.stream]
    for case, budget in itertools.product(methods(cascade), stream.budgets[: settings.budgets]):
        if case.method in settings.methods:
            at_budget(settings, case, budget)
    if cascade.method not in settings.methods or settings.budgets is not None:
        return
    for shift, budget in itertools.product(stream.orders, stream.budgets):
        shifted(settings, cascade, budget, shift)
    audited(settings, cascade)
    audited(settings, cascade, shift="classes")


def methods(cascade: Case) -> Iterator[Case]:
    """Those of one row of the paper's table, for the cascade's stream, expert, seed and levels."""
    yield cascade
    yield cascade._replace(method="ensemble")
    yield cascade._replace(method="threshold")
    names = LEVELS[cascade.levels].names
    if len(names) <= 2:  # larger ones have no level that is new
        yield cascade._replace(method="distilled", level=names[-1])
    if cascade.levels == "linear":
        yield cascade._replace(method="expert")


def shifted(
    settings: Settings, cascade: Case, budget: int, shift: Shift, *, make: bool = True
) -> LearnedRun:
    """The cascade at a budget once more, on the same items in another order; its mu stays.

    Raises:
        MissingError: it is not there, and was not to be made.
    """
    chosen = at_budget(settings, cascade, budget, make=make)
    return run_of(settings, chosen.case._replace(shift=shift), make=make)


def audited(
    settings: Settings, cascade: Case, *, shift: Shift = "", make: bool = True
) -> LearnedRun:
    """The cascade at its middle budget once more, with an audit.

    Raises:
        MissingError: it is not there, and was not to be made.
    """
    chosen = at_budget(settings, cascade, STREAMS[cascade.stream].budgets[1], make=make)
    if make and not shift and cascade.seed == settings.seeds[0] and LEVELS[cascade.levels].encoders:
        # Not above: it loads torch, which neither a linear level nor a report needs.
        from escalade.training.online.encoders import forget_states

        forget_states()  # the page has the seconds of this run
    return run_of(settings, chosen.case._replace(audited=True, shift=shift), make=make)
