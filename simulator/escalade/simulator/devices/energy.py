"""What queries take of devices' batteries, as rows and as a table; reckons nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.simulator.formats import Cell, TextTable, percent, three_digits

_NONE = "\N{EN DASH}"


class EnergyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What queries take of a group's devices, on average, from the first second to the last.

    None is what no source says.
    """

    group: str
    device: str
    #: Of one device, as they come in this run.
    queries_a_day: float
    #: Joules of a query: of the device's models, of its calls, and of both.
    computed_j: float | None
    called_j: float | None
    joules: float | None
    #: Of one device in such a day.
    joules_a_day: float | None
    battery_wh: float | None
    #: Share of its battery that these are, which may be above 1.
    battery_share: float | None
    #: What 99 of 100 devices do not go beyond by how many queries come to them; None of a run
    #: shorter than a day, too, for an hour's chance is not a day's.
    battery_share_p99: float | None


def energy_tables(rows: Sequence[EnergyRow]) -> list[TextTable]:
    """The same for people; no table of no rows."""
    if not rows:
        return []
    most = any(row.battery_share_p99 is not None for row in rows)
    return [
        TextTable(
            "Energy of devices",
            [
                *("group", "device", "a query", "its models", "its call", "a day"),
                *("of the battery", *(["of 99 of 100 at most"] if most else [])),
            ],
            [
                [
                    Cell(row.group),
                    Cell(row.device),
                    *map(_joules, (row.joules, row.computed_j, row.called_j, row.joules_a_day)),
                    _share(row.battery_share),
                    *([_share(row.battery_share_p99)] if most else []),
                ]
                for row in rows
            ],
        )
    ]


def _joules(value: float | None) -> Cell:
    return Cell(_NONE if value is None else f"{three_digits(value)} J")


def _share(value: float | None) -> Cell:
    return Cell(_NONE if value is None else percent(value))
