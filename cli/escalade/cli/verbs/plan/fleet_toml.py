"""Writes a fleet's file with what was planned for it, all else as it is; plans nothing."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from escalade.simulator.planning.deployment import PlannedFleet


def write_fleet(
    out: Path, fleet: PlannedFleet, trace: Path, thresholds: Sequence[float], replicas: int
) -> None:
    """Write what `escalade fleet` runs: thresholds and replicas as planned.

    Args:
        out: the file; paths in it are relative to its folder, as those in the fleet's are to its.
        fleet: that was planned for; its comments stay.
        trace: of the groups that thresholds are for.
        thresholds: one for each gate.
        replicas: that are there all the time.
    """
    import tomlkit

    from escalade.edge.base import atomic_write

    planned = {one.name: one for one in fleet.groups}
    document: MutableMapping[str, Any] = tomlkit.parse(fleet.path.read_text("utf-8"))
    cloud = document["cloud"]
    cloud["replicas"] = replicas
    if "scaling" in cloud:
        del cloud["scaling"]

    def moved(path: str) -> str:
        return _moved(Path(path), fleet.folder, out.parent)

    for table in document["groups"]:
        if "file" in table["arrivals"]:
            table["arrivals"]["file"] = moved(table["arrivals"]["file"])
        if "trace" in table:
            table["trace"] = moved(table["trace"])
        if (group := planned.get(table["name"])) is not None:
            table.setdefault("trace", moved(str(trace.absolute())))
            table["thresholds"] = list(thresholds)
            if group.scale != table.get("scale", 1.0):
                table["scale"] = group.scale
            if group.device is not None:
                table["device"] = group.device
    with atomic_write(out) as stream:
        stream.write(tomlkit.dumps(document).encode())


def _moved(path: Path, folder: Path, to: Path) -> str:
    """A path that is relative to one folder, as one that is so to another."""
    return os.path.relpath(os.path.realpath(folder / path), os.path.realpath(to))
