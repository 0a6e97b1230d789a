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
from benchmarks.sim_vs_live.pieces import kept, pieces_in, rounds_in

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
    #: Of each round.
    fits: list[Fit]
    #: Of loaded pieces: whose they are, and what their controls found, of each round.
    controls: list[tuple[str, int, list[Control]]]


def read_findings(folder: Path) -> Findings:
    """Whatever of it is in a folder."""
    rounds = rounds_in(folder)
    pieces = sorted(pieces_in(rounds), key=lambda of: get_profile(of[0].profile).rtt_ms)
    loaded = [(of[0].profile, of[0].tiers) for of in pieces if of[0].load == "loaded"]
    return Findings(
        rows=[compared(of) for of in pieces],
        sent=[compared(of, sent_only=True) for of in pieces if of[0].load == "light"],
        clock=next(iter(_read([folder], "clock", ClockReport)), None),
        calls=next(iter(_read([folder], "first-calls", list[CallRow])), None),
        fits=_read(rounds, "fit", Fit),
        controls=[
            (profile, tiers, _read(rounds, f"control-{tiers}-{profile}", Control))
            for profile, tiers in loaded
        ],
    )


def _read(folders: Sequence[Path], name: str, kind: type[T]) -> list[T]:
    """Of those folders that have it."""
    paths = [folder / f"{name}.json" for folder in folders]
    return [kept(path, kind) for path in paths if path.exists()]


def tables_of(found: Findings) -> list[TextTable]:
    """Four for each load and number of tiers: errors, intervals, rounds, the network's chance."""
    tables = []
    for (load, tiers), title in _TITLES.items():
        rows = [one for one in found.rows if (one.load, one.tiers) == (load, tiers)]
        sent = [one for one in found.sent if (one.load, one.tiers) == (load, tiers)]
        for of, said in ((rows, title), (sent, f"{title}: those that the device sends on")):
            if of:
                tables += [make(said, of) for make in (_table, _intervals, _rounds, _chances)]
    return tables


def added_tables_of(found: Findings) -> list[TextTable]:
    """One, of loaded pieces that have it: what calls take beyond their own time, one by one."""
    cells = [
        [
            Cell(row.profile),
            Cell(str(row.tiers)),
            Cell(str(row.queries)),
            *(
                Cell(f"{one.value:.2f}, {one.low:.2f} to {one.high:.2f}")
                for one in (row.added.correlation, row.added.slope)
            ),
        ]
        for row in found.rows
        if row.added is not None
    ]
    head = ["network", "tiers", "calls", "correlation, 95 %", "slope, 95 %"]
    title = "under load: what each call takes beyond its own time, live by that of virtual time"
    return [TextTable(title, head, cells)] if cells else []


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


def _rounds(title: str, rows: Sequence[Compared]) -> TextTable:
    cells = [
        [
            Cell(row.profile),
            *(
                Cell(", ".join(f"{100 * one:+.1f}" for one in row.by_round[of]))
                for of in STATISTICS
            ),
        ]
        for row in rows
    ]
    return TextTable(f"{title}, round by round", ["network", *_PERCENT], cells)


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
