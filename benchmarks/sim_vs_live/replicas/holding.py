"""Holds plans against live replicas, goal by goal; knows no control group and no terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from benchmarks.sim_vs_live.pieces import keep
from benchmarks.sim_vs_live.replicas.planning import Fleet, measure
from benchmarks.sim_vs_live.replicas.sending import Sent, send
from benchmarks.sim_vs_live.replicas.servers import Replicas
from benchmarks.study.jobs import REPOSITORY

from escalade.cli.output import note_console
from escalade.edge.base import Record
from escalade.simulator.fleet.replicas.capacity import Capacity
from escalade.simulator.formats import Cell, TextTable, nominal_seconds, seconds
from escalade.simulator.load.loaded_fit import LoadedFit
from escalade.training.data import Split, load_pronunciations, make_records

#: Of the bundled tasks; `docs/fleets.md` has it asked too.
_TASK = "g2p"
#: Live queries and those that are measured for the plan have no word in common.
_LIVE: Split = "test"
_MEASURED: Split = "valid"
#: Different queries, of either.
_QUERIES = 1000
#: The model on the device, of which a trace has to have one.
_DEVICE = REPOSITORY / "training" / "checkpoints" / "small-xent"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One goal at one load.

    Attributes:
        rate: calls a second.
        goal_s: within which 99 of 100 are to be answered.
        live: the fewest replicas that did; None where all there are did not.
        live_s: p99 of so many, or of all there are,
        below_s: and of one less; None where that is none.
        planned: replicas that the plan says; None where it says that no number does.
        planned_s: p99 of as many as live, in virtual time.
    """

    rate: float
    goal_s: float
    live: int | None
    live_s: float
    below_s: float | None
    planned: Capacity | None
    planned_s: float


class Holding:
    """Live replicas, and the plan that is made of the first of them."""

    def __init__(self, out: Path, replicas: Replicas, *, calls: int, seed: int) -> None:
        """Nothing is measured yet.

        Args:
            out: what is in this folder is not measured again; made if there is none.
            replicas: that are asked.
            calls: of a live run.
            seed: of queries and moments; what the plan is made of has the next.
        """
        self._out, self._replicas = out, replicas
        self._calls, self._seed = calls, seed
        out.mkdir(parents=True, exist_ok=True)

    def row(self, rate: float, goal_s: float) -> Row:
        """Plan for a goal, and find out how many it takes live."""
        fleet = Fleet(*self._plan_of(rate), rate, self._calls)
        plan = fleet.planned(goal_s, seed=self._seed)
        # As a plan looks for its own: what is enough stays enough with one more.
        found = fewest(lambda many: self._sent(rate, many).p99_s <= goal_s, self._replicas.most)
        shown = self._replicas.most if found is None else found
        return Row(
            rate=rate,
            goal_s=goal_s,
            live=found,
            live_s=self._sent(rate, shown).p99_s,
            below_s=self._sent(rate, shown - 1).p99_s if shown > 1 else None,
            planned=plan,
            planned_s=fleet.p99_s(shown, seed=self._seed),
        )

    def _plan_of(self, rate: float) -> tuple[Path, LoadedFit]:
        """Trace and fit of the first replica, at a load that half of them share."""
        many = max(1, self._replicas.most // 2)
        name, trace = f"fit-{rate:g}", self._out / f"replica-{rate:g}.trace"
        path = self._out / f"{name}.json"
        if not path.exists():
            artifact = self._out / _DEVICE.name
            if not artifact.exists():
                from escalade.export.artifact.artifact import export_artifact  # with torch

                _say(f"exporting {artifact.name} ...")
                export_artifact(_DEVICE, artifact, quantize="int8")
            addresses = self._replicas.first(many)
            _say(f"fitting the first of {many} replicas, {rate:g} calls a second together ...")
            records = _queries(_MEASURED, self._seed + 1)
            found = measure(addresses, artifact, records, rate / many, trace, seed=self._seed + 1)
            keep(self._out, name, found)
        return trace, msgspec.json.decode(path.read_bytes(), type=LoadedFit)

    def _sent(self, rate: float, many: int) -> Sent:
        """Live, with so many of the replicas."""
        name = f"sent-{rate:g}-{many}"
        path = self._out / f"{name}.json"
        if not path.exists():
            addresses = self._replicas.first(many)
            _say(f"live: {many} replicas, {self._calls} calls, {rate:g} a second ...")
            prompts = [one.prompt for one in _queries(_LIVE, self._seed)]
            found = send(addresses, prompts, rate, self._calls, seed=self._seed)
            _say(
                f"  p99 {seconds(found.p99_s)}; the driver was late by {seconds(found.late_s)};"
                f" others had {found.others:.2f} cores, the host {found.stolen_s:.1f} s"
            )
            keep(self._out, name, found)
        return msgspec.json.decode(path.read_bytes(), type=Sent)


def fewest(is_enough: Callable[[int], bool], most: int) -> int | None:
    """The fewest of 1..most that are enough; None where not even all are."""
    low, high = 1, most + 1
    while low < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return low if low <= most else None


def table_of(rows: Sequence[Row]) -> TextTable:
    """For a terminal."""
    head = ["calls/s", "p99 within", "live", "its p99", "of one less", "planned", "97%"]
    return TextTable(
        "replicas, live and planned",
        [*head, "p99 of as many as live"],
        [
            [
                Cell(text)
                for text in (
                    f"{one.rate:g}",
                    nominal_seconds(one.goal_s),
                    "more" if one.live is None else str(one.live),
                    seconds(one.live_s),
                    "" if one.below_s is None else seconds(one.below_s),
                    *_planned(one.planned),
                    seconds(one.planned_s),
                )
            ]
            for one in rows
        ],
    )


def _planned(plan: Capacity | None) -> tuple[str, str]:
    """Its median, and its interval."""
    return ("none", "") if plan is None else (str(plan.median), f"{plan.least} to {plan.most}")


def _queries(split: Split, seed: int) -> list[Record]:
    records = [one for one in make_records(split, load_pronunciations()) if one.task == _TASK]
    rng = np.random.default_rng([seed, *split.encode()])
    return [records[k] for k in rng.choice(len(records), _QUERIES, replace=False)]


def _say(line: str) -> None:
    note_console().print(line)
