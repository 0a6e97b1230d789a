"""Holds plans against live replicas, goal by goal; knows no control group and no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.sim_vs_live.pieces import keep, kept
from benchmarks.sim_vs_live.replicas.planning import Fleet, Measured, fitted, joined, measure
from benchmarks.sim_vs_live.replicas.sending import Sent, pooled, send
from benchmarks.sim_vs_live.replicas.servers import Replicas
from benchmarks.study.jobs import REPOSITORY

from escalade.cli.output import note_console
from escalade.edge.base import Record
from escalade.simulator.fleet.replicas.capacity import Capacity
from escalade.simulator.formats import Cell, TextTable, nominal_seconds, seconds
from escalade.training.data import Split, load_pronunciations, make_records

#: Of the bundled tasks; `docs/fleets.md` has it asked too.
_TASK = "g2p"
#: Live queries and those that are measured for the plan have no word in common.
_LIVE: Split = "test"
_MEASURED: Split = "valid"
#: Different queries, of either; and how many of the measured ones a turn records alone.
_QUERIES, _RECORDED = 1000, 25
#: Calls to all replicas before any is measured.
_WARMING = 750
#: The model on the device, of which a trace has to have one.
_DEVICE = REPOSITORY / "training" / "checkpoints" / "small-xent"
#: Draws of turns for an interval, and what of them it holds, as a plan's.
_DRAWS, _HELD = 2000, (0.015, 0.985)


class Plan(NamedTuple):
    """What is measured.

    Attributes:
        rate: calls a second, of all replicas.
        counts: of replicas that are asked live, rising.
        calls: of each number of them in a turn.
        turns: each has a part of the fit, and of what is asked live.
        seed: of queries and moments; what the plan is made of has the next.
    """

    rate: float
    counts: Sequence[int]
    calls: int
    turns: int
    seed: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One goal.

    Attributes:
        goal_s: within which 99 of 100 are to be answered.
        live: the fewest replicas that did; None where those that were asked did not.
        live_least: the fewest and
        live_most: most, by turns that are drawn anew, in 97 of 100; None where none did.
        live_s: p99 of so many, or of the most that were asked,
        below_s: and of the next fewer; None where there is none.
        planned: replicas that the plan says; None where it says that no number does.
        planned_s: p99 of as many as live, in virtual time.
    """

    goal_s: float
    live: int | None
    live_least: int | None
    live_most: int | None
    live_s: float
    below_s: float | None
    planned: Capacity | None
    planned_s: float


class Holding:
    """Live replicas, and the plan that is made of the first of them.

    A machine that others share drifts by a fifth within a minute: fit and every number of replicas
    take turns, so that all meet the same.
    """

    def __init__(self, out: Path, replicas: Replicas, plan: Plan) -> None:
        """Nothing is measured yet.

        Args:
            out: what is in this folder is not measured again; made if there is none.
            replicas: that are asked, at least as many as the most of the plan.
            plan: what is measured.
        """
        self._out, self._replicas, self._plan = out, replicas, plan
        self._warm = False
        out.mkdir(parents=True, exist_ok=True)

    def rows(self, goals: Sequence[float]) -> list[Row]:
        """Measure what is missing, plan, and find out how many replicas each goal takes live.

        Args:
            goals: p99s, as multiples of the median answer alone.
        """
        plan = self._plan
        parts = [self._part(turn) for turn in range(plan.turns)]
        traces = [self._out / f"{_fit_name(turn)}.trace" for turn in range(plan.turns)]
        fit = fitted(parts, self._each_rate)
        fleet = Fleet(
            joined(traces, self._out / "replica.trace"), fit, plan.rate, plan.calls * plan.turns
        )
        sent = {
            many: [self._sent(many, turn) for turn in range(plan.turns)] for many in plan.counts
        }
        alone_s = float(np.median([took_s for part in parts for _, took_s in part.alone]))
        # To 10 ms, as somebody would write it down.
        return [self._row(round(goal * alone_s, 2), sent, fleet) for goal in goals]

    @property
    def _each_rate(self) -> float:
        """Of a replica, in the fit: what it would have where half of all there are share it."""
        return self._plan.rate / self._fit_many

    @property
    def _fit_many(self) -> int:
        counts = self._plan.counts
        return counts[len(counts) // 2]

    def _row(self, goal_s: float, sent: Mapping[int, Sequence[Sent]], fleet: Fleet) -> Row:
        plan, together = self._plan, {many: pooled(turns).p99_s for many, turns in sent.items()}
        found = _fewest(together, goal_s)
        least, most = _chance(sent, goal_s, plan.seed)
        shown = max(sent) if found is None else found
        fewer = [many for many in sent if many < shown]
        return Row(
            goal_s=goal_s,
            live=found,
            live_least=least,
            live_most=most,
            live_s=together[shown],
            below_s=together[max(fewer)] if fewer else None,
            planned=fleet.planned(goal_s, seed=plan.seed),
            planned_s=fleet.p99_s(shown, seed=plan.seed),
        )

    def _part(self, turn: int) -> Measured:
        """Of the fit and the trace of the first replica.

        What is missing of a turn's live calls is measured right after it, in an order of chance.
        """
        plan, name = self._plan, _fit_name(turn)
        path = self._out / f"{name}.json"
        if not path.exists():
            artifact = self._artifact()
            addresses = self._addresses(self._fit_many)
            _say(f"turn {turn + 1} of {plan.turns}: fitting the first of {self._fit_many} ...")
            records = _queries(_MEASURED, plan.seed + 1)
            some = records[turn * _RECORDED :][:_RECORDED]
            seed, trace = plan.seed + 1 + plan.turns * turn, self._out / f"{name}.trace"
            found = measure(
                addresses, artifact, records, self._each_rate, trace, recorded=some, seed=seed
            )
            keep(self._out, name, found)
        for many in np.random.default_rng([plan.seed, turn]).permutation(plan.counts):
            self._sent(int(many), turn)
        return kept(path, Measured)

    def _sent(self, many: int, turn: int) -> Sent:
        """Live, with so many of the replicas."""
        plan, name = self._plan, f"sent-{many}-{turn}"
        path = self._out / f"{name}.json"
        if not path.exists():
            addresses = self._addresses(many)
            prompts = [one.prompt for one in _queries(_LIVE, plan.seed)]
            seed = plan.seed + plan.turns * turn
            found = send(addresses, prompts, plan.rate, plan.calls, seed=seed)
            _say(
                f"  {many} replicas: p99 {seconds(found.p99_s)}; the driver was late by"
                f" {seconds(found.late_s)}; others had {found.others:.2f} cores, the host"
                f" {found.stolen_s:.1f} s"
            )
            keep(self._out, name, found)
        return kept(path, Sent)

    def _addresses(self, many: int) -> list[str]:
        """Of so many of the replicas, which have answered for a while.

        With a tenth of a core, what a server does once takes a fifth off its speed for some ten
        seconds: in service it is long done.
        """
        every = self._replicas.first(max(self._plan.counts))
        if not self._warm:
            _say("warming up ...")
            prompts = [one.prompt for one in _queries(_MEASURED, self._plan.seed + 1)]
            send(every, prompts, self._plan.rate, _WARMING, seed=self._plan.seed)
            self._warm = True
        return every[:many]

    def _artifact(self) -> Path:
        artifact = self._out / _DEVICE.name
        if not artifact.exists():
            from escalade.export.artifact import export_artifact  # with torch

            _say(f"exporting {artifact.name} ...")
            export_artifact(_DEVICE, artifact, quantize="int8")
        return artifact


def _fit_name(turn: int) -> str:
    return f"fit-{turn}"


def _fewest(p99_s: Mapping[int, float], goal_s: float) -> int | None:
    """The fewest replicas that keep a goal; None where none of those that were asked does."""
    return min((many for many, found in p99_s.items() if found <= goal_s), default=None)


def _chance(
    sent: Mapping[int, Sequence[Sent]], goal_s: float, seed: int
) -> tuple[int | None, int | None]:
    """The fewest replicas as chance has them: in turns that are drawn with replacement.

    Returns:
        The interval's ends; None where not even the most keep the goal.
    """
    rng, beyond = np.random.default_rng(seed), max(sent) + 1
    found = []
    turns = len(next(iter(sent.values())))
    for _ in range(_DRAWS):
        drawn = rng.integers(turns, size=turns)
        p99_s = {many: pooled([of[k] for k in drawn]).p99_s for many, of in sent.items()}
        found.append(_fewest(p99_s, goal_s) or beyond)
    least, most = np.quantile(found, _HELD, method="closest_observation").astype(int).tolist()
    return (least if least < beyond else None), (most if most < beyond else None)


def table_of(rows: Sequence[Row]) -> TextTable:
    """For a terminal."""
    head = ["p99 within", "live", "97%", "its p99", "of fewer", "planned", "97%"]
    return TextTable(
        "replicas, live and planned",
        [*head, "p99 of as many as live"],
        [
            [
                Cell(text)
                for text in (
                    nominal_seconds(one.goal_s),
                    _number(one.live),
                    f"{_number(one.live_least)} to {_number(one.live_most)}",
                    seconds(one.live_s),
                    "" if one.below_s is None else seconds(one.below_s),
                    *_planned(one.planned),
                    seconds(one.planned_s),
                )
            ]
            for one in rows
        ],
    )


def _number(many: int | None) -> str:
    return "more" if many is None else str(many)


def _planned(plan: Capacity | None) -> tuple[str, str]:
    """Its median, and its interval."""
    return ("none", "") if plan is None else (str(plan.median), f"{plan.least} to {plan.most}")


def _queries(split: Split, seed: int) -> list[Record]:
    records = [one for one in make_records(split, load_pronunciations()) if one.task == _TASK]
    rng = np.random.default_rng([seed, *split.encode()])
    return [records[k] for k in rng.choice(len(records), _QUERIES, replace=False)]


def _say(line: str) -> None:
    note_console().print(line)
