"""Writes a fleet's run as one page; knows no formula of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from escalade.simulator.formats import TextTable, nominal_seconds
from escalade.simulator.frames import Frame, Value, rows_of
from escalade.simulator.paper import fleet_figures
from escalade.simulator.report.charts import chart, csv_link, policy
from escalade.simulator.report.maps import fleet_map
from escalade.simulator.report.page import write_page

_SCRIPTS = ("printing.js",)

#: Of each figure its title and the columns of the timeline's table that it draws.
_OVER_TIME = {
    "load": ("Load", (0, 1, 2, 3, 4)),
    "replicas": ("Replicas", (0, 5, 6)),
    "waiting": ("Queries that wait in the cloud", (0, 7)),
}


def write_fleet_page(
    path: Path, name: str, lines: list[str], tables: list[TextTable], frames: list[Frame]
) -> None:
    """Write the page of a run; the same run gives the same page.

    Args:
        path: the page.
        name: what it calls the fleet.
        lines: of the run,
        tables: who answered, latency, and the timeline,
        frames: and the numbers behind.

    Raises:
        DataError: it cannot be written.
    """
    figures = fleet_figures(frames)
    told = {frame.name: frame for frame in frames}
    answered, latency, timeline = tables
    outages = [_outage(row) for row in rows_of(told["outages"])]
    caption = "Shaded: outages." if outages else ""
    charts = [
        chart(
            figure,
            title,
            figures[figure],
            caption,
            {f"{figure}-table": _columns(timeline, title, columns)},
            told["timeline"],
        )
        for figure, (title, columns) in _OVER_TIME.items()
    ]
    behind = {"latency-table": latency}
    charts.append(chart("latency", "Latency", figures["latency"], "", behind, told["distribution"]))
    values: dict[str, object] = {
        "name": name,
        "lede": lines,
        "policy": policy(*_SCRIPTS),
        "scripts": _SCRIPTS,
        "charts": charts,
        "stops": fleet_map(told["groups"], told["cloud"]),
        "answered": answered,
        "groups_csv": csv_link(told["groups"]),
        "outages": outages,
    }
    write_page(path, "fleet.html", values)


def _outage(row: Mapping[str, Value]) -> str:
    begins, ends = (nominal_seconds(float(row[name] or 0)) for name in ("from_s", "to_s"))
    return f"{row['group'] or 'all groups'}: from {begins} to {ends}"


def _columns(table: TextTable, title: str, places: tuple[int, ...]) -> TextTable:
    head = [table.head[place] for place in places]
    rows = [[row[place] for place in places] for row in table.rows]
    return TextTable(f"{title} over time", head, rows)
