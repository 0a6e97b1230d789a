"""Writes a fleet's run as one page; knows no formula of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from escalade.simulator.formats import TextTable, nominal_seconds
from escalade.simulator.frames import Frame, Value, rows_of
from escalade.simulator.paper import fleet_figures
from escalade.simulator.report.charts import as_json, chart, csv_link, policy
from escalade.simulator.report.maps import fleet_map
from escalade.simulator.report.page import write_page

_PRINTING = "printing.js"
_SWITCHING = ("formats.js", "fleet.js")

#: Of each figure its title and the columns of the timeline's table that it draws.
_OVER_TIME = {
    "load": ("Load", (0, 1, 2, 3, 4)),
    "replicas": ("Replicas", (0, 5, 6)),
    "waiting": ("Queries that wait in the cloud", (0, 7)),
}
_REFUSED_NEAR = 8


def write_fleet_page(
    path: Path, name: str, lines: list[str], tables: list[TextTable], frames: list[Frame]
) -> None:
    """Write the page of a run; the same run gives the same page.

    Args:
        path: the page.
        name: what it calls the fleet.
        lines: of the run,
        tables: who answered, latency, energy where that is told, and the timeline,
        frames: and the numbers behind.

    Raises:
        DataError: it cannot be written.
    """
    figures = fleet_figures(frames)
    told = {frame.name: frame for frame in frames}
    answered, latency, *energy, timeline = tables
    outages = [_outage(row) for row in rows_of(told["outages"])]
    # A column more where gateways refuse.
    is_refused_near = len(timeline.head) > _REFUSED_NEAR
    over_time = dict(_OVER_TIME)
    if is_refused_near:
        load, columns = over_time["load"]
        over_time["load"] = load, (*columns, _REFUSED_NEAR)
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
        for figure, (title, columns) in over_time.items()
    ]
    behind = {"latency-table": latency}
    charts.append(chart("latency", "Latency", figures["latency"], "", behind, told["distribution"]))
    names = [str(row["name"]) for row in rows_of(told["groups"])[:-1]]
    scripts: tuple[str, ...] = (_PRINTING,)
    if len(names) > 1:
        scripts = (*_SWITCHING, _PRINTING)
    values: dict[str, object] = {
        "name": name,
        "lede": lines,
        "policy": policy(*scripts),
        "scripts": scripts,
        "switched": names if len(names) > 1 else [],
        "charts": charts,
        "stops": fleet_map(told["groups"], told["gateways"], told["cloud"]),
        "answered": answered,
        "groups_csv": csv_link(told["groups"]),
        "loads_csv": csv_link(told["loads"]),
        "outages": outages,
        "is_refused_near": is_refused_near,
        "energy": energy,
        "energy_csv": csv_link(told["energy"]) if energy else None,
    }
    if len(names) > 1:
        values["data"] = as_json(_switched(names, told, len(latency.rows) // (len(names) + 1)))
    write_page(path, "fleet.html", values)


def _switched(names: Sequence[str], told: Mapping[str, Frame], latencies: int) -> dict[str, object]:
    """What the page's script reads, where the table of latencies has so many rows of a group."""
    kinds = ["queries", "attempts", "refused", "degraded"]
    if any(told["loads"].columns["refused_near"]):
        kinds.append("refused_near")
    loads, from_s = told["loads"].columns, told["timeline"].columns["from_s"]
    stretches = len(from_s)
    groups = []
    for k, name in enumerate(names):
        own = slice(k * stretches, (k + 1) * stretches)
        groups.append(
            {
                "name": name,
                "load": [loads[kind][own] for kind in kinds],
                "latencies": [latencies * k + row for row in range(latencies)],
                "outages": [
                    place
                    for place, row in enumerate(rows_of(told["outages"]))
                    if row["group"] == name
                ],
            }
        )
    return {
        "kinds": kinds,
        "stretches": stretches,
        "width_s": from_s[1],
        "groups": groups,
    }


def _outage(row: Mapping[str, Value]) -> str:
    begins, ends = (nominal_seconds(float(row[name] or 0)) for name in ("from_s", "to_s"))
    whose = f"gateways {row['gateway']}" if row["gateway"] else row["group"] or "all groups"
    return f"{whose}: from {begins} to {ends}"


def _columns(table: TextTable, title: str, places: tuple[int, ...]) -> TextTable:
    head = [table.head[place] for place in places]
    rows = [[row[place] for place in places] for row in table.rows]
    return TextTable(f"{title} over time", head, rows)
