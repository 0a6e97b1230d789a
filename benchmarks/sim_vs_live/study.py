"""What is measured of one round, and what of it is in a folder already; reports nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
from benchmarks.sim_vs_live import first_calls, light
from benchmarks.sim_vs_live.loaded import Call, measure, recorded_calls
from benchmarks.sim_vs_live.loads import LOADS, PARTS, SHARE, TIERS, Load
from benchmarks.sim_vs_live.pieces import keep, kept, name_of
from benchmarks.sim_vs_live.system import System, models, system

from escalade.cli.output import note_console, progress_bar
from escalade.edge.artifact import Scheme
from escalade.edge.base import Record, read_records
from escalade.edge.trace import write_trace
from escalade.simulator.load import Plan, Target, fit_load
from escalade.simulator.load.fitting import Fit
from escalade.simulator.timing import measure_delays
from escalade.simulator.timing.measuring import calls_at
from escalade.simulator.timing.report import ClockReport
from escalade.training.data import write_splits

_NEAR = "free"
#: Of the fit: seconds of each loop.
_FIT_S, _FIT_WARM_UP_S = 2.5, 0.5
#: The clock's table has so many times fewer calls than that of `escalade simulate clock`.
_CLOCK_FEWER = 4
_FIRST_CALLS_RTT_S = 0.2

T = TypeVar("T")


class Study:
    """The pieces of a folder, and what is measured of them that is not there."""

    def __init__(
        self,
        out: Path,
        profiles: Sequence[str],
        *,
        queries: int,
        calls: int,
        share: float = SHARE,
        parts: int = PARTS,
        seed: int,
        shared: Path,
        loads: Sequence[Load] = LOADS,
        tiers: Sequence[int] = TIERS,
        scheme: Scheme | None = None,
    ) -> None:
        """Nothing is measured yet.

        Args:
            out: the round's folder; made if there is none.
            profiles: networks.
            queries: of a light piece, at least 1.
            calls: of a loaded piece, at least 1.
            share: see `measure` of `loaded`, above 0,
            parts: and this, at least 1.
            seed: of queries, moments and networks.
            shared: a folder of what all rounds have: models and data.
            loads: that are measured.
            tiers: of the cascades that are measured.
            scheme: of the device's models, see `models`.
        """
        self._out, self._profiles, self._shared = out, profiles, shared
        self._queries, self._calls, self._seed = queries, calls, seed
        self._share, self._parts = share, parts
        self._loads, self._tiers, self._scheme = loads, tiers, scheme
        out.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Measure the pieces that are missing."""
        for tiers in self._tiers:
            names = [name_of(load, tiers, one) for one in self._profiles for load in self._loads]
            if not all(self._path(name).exists() for name in names):
                with ExitStack() as stack:
                    self._measure(tiers, stack)

    def machine(self) -> None:
        """Measure what delays are here and what first calls take, if that is missing."""
        self._once("clock", ClockReport, self._clock)
        try:
            rows = list[first_calls.CallRow]
            self._once("first-calls", rows, lambda: first_calls.measure(_FIRST_CALLS_RTT_S))
        except OSError as error:  # no root, or no Linux: all else can be had
            note_console().print(f"no first calls: {error}")

    def _measure(self, tiers: int, stack: ExitStack) -> None:
        made = stack.enter_context(models(self._shared / "models", scheme=self._scheme))
        near = stack.enter_context(system(self._out / f"near-{tiers}", made, _NEAR, tiers))
        calls, others = list[Call](), list[Call]()
        if "loaded" in self._loads:
            self._once("fit", Fit, lambda: self._fit(near))
            calls, others = self._recorded(near, tiers)
        for profile in self._profiles:
            missing = [
                load
                for load in self._loads
                if not self._path(name_of(load, tiers, profile)).exists()
            ]
            if not missing:
                continue
            folder, seed = self._out / f"far-{tiers}-{profile}", f"{self._seed} {tiers} {profile}"
            with system(folder, made, profile, tiers, seed=seed) as far:
                if "light" in missing:
                    self._light(profile, tiers, near, far)
                if "loaded" in missing:
                    self._loaded(profile, tiers, near, far, calls, others)

    def _light(self, profile: str, tiers: int, near: System, far: System) -> None:
        _settle()
        asked = self._records("test", self._queries, f"{tiers} {profile}")
        piece, trace = light.measure(profile, tiers, asked, near, far, seed=self._seed)
        path = self._out / f"trace-{tiers}-{profile}.jsonl"
        write_trace(path, trace.header, trace.records)
        keep(self._out, piece.name, piece)

    def _loaded(
        self,
        profile: str,
        tiers: int,
        near: System,
        far: System,
        calls: Sequence[Call],
        others: Sequence[Call],
    ) -> None:
        _settle()
        addresses = near.address, far.address
        found, piece = measure(
            profile,
            tiers,
            addresses,
            calls,
            others,
            self._calls,
            share=self._share,
            parts=self._parts,
            seed=self._seed,
        )
        keep(self._out, f"control-{tiers}-{profile}", found)
        keep(self._out, piece.name, piece)

    def _recorded(self, near: System, tiers: int) -> list[list[Call]]:
        """Of queries of the test split, and of the control's, those that climb to the cloud."""
        pools = [self._records(one, self._queries, f"calls {tiers}") for one in ("test", "valid")]
        note_console().print(f"calls of {len(pools)} x {self._queries} queries, {tiers} tiers ...")
        return self._once(
            f"calls-{tiers}", list[list[Call]], lambda: recorded_calls(near.client, pools)
        )

    def _fit(self, near: System) -> Fit:
        """Of the cloud, asked over the near system's last link; on queries of the other split."""
        prompts = [one.prompt for one in self._records("valid", self._queries, "fit")]
        plan = Plan(clients=1, seconds=_FIT_S, warm_up_s=_FIT_WARM_UP_S, seed=self._seed)
        with progress_bar("fitting") as tick:
            return fit_load(Target(address=near.last, prompts=prompts), plan, progress=tick)

    def _clock(self) -> ClockReport:
        with progress_bar("timing delays") as tick:
            return measure_delays(
                calls=lambda delay_s: max(4, calls_at(delay_s) // _CLOCK_FEWER), progress=tick
            )

    def _records(self, split: str, many: int, whose: str) -> list[Record]:
        data = self._shared / "data"
        if not data.exists():
            write_splits(data)
        rng = np.random.default_rng([self._seed, *whose.encode()])
        records = read_records(data / f"{split}.jsonl")
        return [records[k] for k in rng.choice(len(records), many, replace=False)]

    def _once(self, name: str, kind: type[T], measure: Callable[[], T]) -> T:
        """What is there, or else is measured now."""
        if not self._path(name).exists():
            keep(self._out, name, measure())
        return kept(self._path(name), kind)

    def _path(self, name: str) -> Path:
        return self._out / f"{name}.json"


def _settle() -> None:
    """Take what is there from the collector's sight, as servers do when they begin.

    A device's process has no torch in it; with that, going over all objects stops this one for
    half a second, now and then, in either cascade's call.
    """
    gc.collect()
    gc.freeze()
