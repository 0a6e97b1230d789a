"""Writes a fleet's file with what was planned for it, all else as it is; plans nothing."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from escalade.simulator.planning import Plan
    from escalade.simulator.planning.deployment import PlannedFleet


def write_fleet(out: Path, fleet: PlannedFleet, trace: Path, plan: Plan) -> None:
    """Write what `escalade fleet` runs: thresholds and replicas as planned.

    Args:
        out: the file; paths in it are relative to its folder, as those in the fleet's are.
        fleet: that was planned for; its comments stay.
        trace: of the groups that thresholds are for.
        plan: with a deployment.
    """
    import tomlkit

    from escalade.edge.base import atomic_write

    assert plan.deployment is not None  # noqa: S101 - it is of a fleet
    planned = {one.name: one for one in fleet.groups}
    document: MutableMapping[str, Any] = tomlkit.parse(fleet.path.read_text("utf-8"))
    cloud = document["cloud"]
    cloud["replicas"] = plan.deployment.replicas
    if "scaling" in cloud:
        del cloud["scaling"]
    for table in document["groups"]:
        arrivals = table["arrivals"]
        if "file" in arrivals:
            arrivals["file"] = _moved(Path(arrivals["file"]), fleet.folder, out.parent)
        if table["name"] in planned:
            table["trace"] = _moved(
                Path(table.get("trace", trace.absolute())), fleet.folder, out.parent
            )
            table["thresholds"] = plan.thresholds
            if planned[table["name"]].scale != table.get("scale", 1.0):
                table["scale"] = planned[table["name"]].scale
        elif "trace" in table:
            table["trace"] = _moved(Path(table["trace"]), fleet.folder, out.parent)
    with atomic_write(out) as stream:
        stream.write(tomlkit.dumps(document).encode())


def _moved(path: Path, folder: Path, to: Path) -> str:
    """A path that is relative to one folder, as one that is so to another."""
    return os.path.relpath(os.path.realpath(folder / path), os.path.realpath(to))
