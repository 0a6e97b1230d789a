"""What was measured, compared, and its tables; measures nothing and writes no page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from benchmarks.sim_vs_live.comparing import STATISTICS, Compared, compared
from benchmarks.sim_vs_live.first_calls import CallRow
from benchmarks.sim_vs_live.loaded import Control
from benchmarks.sim_vs_live.pieces import pieces_in

from escalade.simulator.formats import Cell, TextTable, seconds
from escalade.simulator.load.fitting import Fit
from escalade.simulator.network import get_profile
from escalade.simulator.timing.report import ClockReport

#: Root mean square of what a p95 is off by chance, were there as many queries as that takes.
_CLOSE = 0.03
#: What is aimed at, where a round trip takes 10 ms or more.
TARGETS = {"p50": 0.05, "p95": 0.05, "mean": 0.02}
_PERCENT = [f"{of}, %" for of in STATISTICS]
_TITLES = {
    ("light", 2): "two tiers, one query after the other",
    ("light", 3): "three tiers, one query after the other",
    ("loaded", 2): "two tiers, under load: the calls",
    ("loaded", 3): "three tiers, under load: the calls",
}

T = TypeVar("T")


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured, compared."""

    #: All queries of a piece; of light load also those alone that the device sends on.
    rows: list[Compared]
    sent: list[Compared]
    clock: ClockReport | None
    calls: list[CallRow] | None
    fit: Fit | None
    #: Of loaded pieces: whose they are, and what their controls found.
    controls: list[tuple[str, int, Control]]


def read_findings(folder: Path) -> Findings:
    """Whatever of it is in a folder."""

    def read(name: str, kind: type[T]) -> T | None:
        path = folder / f"{name}.json"
        return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None

    pieces = sorted(pieces_in(folder), key=lambda one: get_profile(one.profile).rtt_ms)
    found = [
        (one.profile, one.tiers, read(f"control-{one.tiers}-{one.profile}", Control))
        for one in pieces
        if one.load == "loaded"
    ]
    return Findings(
        rows=[compared(one) for one in pieces],
        sent=[compared(one, sent_only=True) for one in pieces if one.load == "light"],
        clock=read("clock", ClockReport),
        calls=read("first-calls", list[CallRow]),
        fit=read("fit", Fit),
        controls=[(name, tiers, one) for name, tiers, one in found if one is not None],
    )


def tables_of(found: Findings) -> list[TextTable]:
    """Three for each load and number of tiers: errors, intervals, and the network's chance."""
    tables = []
    for (load, tiers), title in _TITLES.items():
        rows = [one for one in found.rows if (one.load, one.tiers) == (load, tiers)]
        sent = [one for one in found.sent if (one.load, one.tiers) == (load, tiers)]
        for of, said in ((rows, title), (sent, f"{title}: those that the device sends on")):
            if of:
                tables += [_table(said, of), _intervals(said, of), _chances(said, of)]
    return tables


def _table(title: str, rows: Sequence[Compared]) -> TextTable:
    cells = [
        [
            Cell(row.profile),
            Cell(str(row.queries)),
            *(
                Cell(f"{seconds(row.live_s[of])}, {100 * row.error[of].value:+.1f} %")
                for of in STATISTICS
            ),
            Cell(f"{row.ks.value:.2f}"),
        ]
        for row in rows
    ]
    return TextTable(title, ["network", "queries", *STATISTICS, "KS"], cells)


def _intervals(title: str, rows: Sequence[Compared]) -> TextTable:
    cells = [
        [
            Cell(row.profile),
            *(
                Cell(f"{100 * row.error[of].low:+.1f} to {100 * row.error[of].high:+.1f}")
                for of in STATISTICS
            ),
            Cell(f"{row.ks.low:.2f} to {row.ks.high:.2f}"),
        ]
        for row in rows
    ]
    return TextTable(f"{title}, 95 %", ["network", *_PERCENT, "KS"], cells)


def _chances(title: str, rows: Sequence[Compared]) -> TextTable:
    def cell(row: Compared, of: str) -> Cell:
        chance = row.chance[of]
        error = row.error[of].value
        within = chance.low <= error <= chance.high or abs(error) <= TARGETS.get(of, math.inf)
        beyond = "" if within else ", beyond"
        return Cell(f"{100 * chance.low:+.1f} to {100 * chance.high:+.1f}{beyond}")

    def needed(row: Compared) -> Cell:
        # Chance falls by the root of how many there are.
        many = math.ceil(row.queries * (row.chance["p95"].value / _CLOSE) ** 2)
        return Cell(f"{max(many, row.queries):,}")

    cells = [
        [Cell(row.profile), *(cell(row, of) for of in STATISTICS), needed(row)] for row in rows
    ]
    head = ["network", *_PERCENT, "queries for 3 %"]
    return TextTable(f"{title}, by chance of the network", head, cells)
