"""What puts a profile in the path of a query, and whether this machine has it; times nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.simulator.formats import Cell, TextTable
from escalade.simulator.network import KernelPart, kernel_lacks


class DriverRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way to put a profile between a device and a cloud."""

    name: str
    what: str
    #: Why this machine does not have it; empty where it does.
    lacking: str = ""


def drivers_of(kernel: Sequence[KernelPart]) -> list[DriverRow]:
    """Every driver; nothing here needs the kernel's but its own verb."""
    return [
        DriverRow(name="proxy", what="live TCP before any server: escalade proxy"),
        DriverRow(name="calls", what="gRPC calls in process: CallNetwork"),
        DriverRow(name="virtual", what="virtual time: escalade simulate, plan, fleet"),
        DriverRow(name="kernel", what="real packets: escalade netns", lacking=kernel_lacks(kernel)),
    ]


def drivers_table(rows: Sequence[DriverRow]) -> TextTable:
    """A row for each."""
    cells = [[Cell(row.name), Cell(row.what), Cell(row.lacking or "yes")] for row in rows]
    return TextTable("", ["driver", "what", "here"], cells)
