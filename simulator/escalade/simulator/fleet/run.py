"""Runs what is said of a fleet, from its file to its report; knows no single event."""

from __future__ import annotations

import os
from pathlib import Path

from escalade.simulator.devices import Devices
from escalade.simulator.fleet.building import build
from escalade.simulator.fleet.description import Spec, read_spec
from escalade.simulator.fleet.energy import energy_of
from escalade.simulator.fleet.engine import Progress, simulate
from escalade.simulator.fleet.report import WINDOWS, FleetRun, run_of
from escalade.simulator.network import Profiles

#: Threads that devices run on: all there are, for no number depends on how many.
THREADS = os.cpu_count() or 1


def run_fleet(
    path: Path,
    *,
    seed: int,
    known: Profiles | None = None,
    devices: Devices | None = None,
    progress: Progress = lambda done, total: None,
) -> FleetRun:
    """Run a fleet.

    Args:
        path: of its spec (TOML).
        seed: same seed, same numbers; in [0, 2**32).
        known: networks by name; None is those that come with the package.
        devices: by name; None is likewise.
        progress: called after each stretch of time.

    Raises:
        DataError: a trace cannot be read.
        SimulatorError: the spec or a file that it names is not as it must be, or the fleet cannot
            be served.
    """
    return run_spec(
        read_spec(path),
        path.parent,
        seed=seed,
        known=known,
        devices=devices,
        progress=progress,
    )


def run_spec(
    spec: Spec,
    folder: Path,
    *,
    seed: int,
    known: Profiles | None = None,
    devices: Devices | None = None,
    progress: Progress = lambda done, total: None,
) -> FleetRun:
    """The same of a spec whose paths are relative to a folder."""
    fleet = build(spec, folder, seed=seed, known=known, devices=devices)
    outcome = simulate(fleet.model, windows=WINDOWS, threads=THREADS, progress=progress)
    energy, notes = energy_of(spec, outcome, fleet.built)
    return run_of(spec, outcome, seed=seed, notes=[*fleet.notes, *notes], energy=energy)
