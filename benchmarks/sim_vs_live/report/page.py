"""The page docs/results-simulator.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from benchmarks.sim_vs_live import first_calls
from benchmarks.sim_vs_live.comparing import Compared
from benchmarks.sim_vs_live.first_calls import CallRow
from benchmarks.sim_vs_live.loaded import Control
from benchmarks.sim_vs_live.loads import LOADS
from benchmarks.sim_vs_live.pieces import DRAWS, LOADED_DRAWS
from benchmarks.sim_vs_live.report import words
from benchmarks.sim_vs_live.report.findings import TARGETS, Findings, added_tables_of, tables_of
from benchmarks.study_online.report.tables import markdown

from escalade.edge.base import atomic_write
from escalade.simulator.formats import TextTable, seconds
from escalade.simulator.load.fitting import Fit
from escalade.simulator.network import get_profile
from escalade.simulator.timing import lines_of as clock_lines_of
from escalade.simulator.timing import tables_of as clock_tables_of

#: Round trips from which `TARGETS` are aimed at.
_FROM_MS = 10.0
_LOADS = {"light": "One query after the other", "loaded": "Under load"}
_CONTROL = ["network", "tiers", "calls/s", "slowdown", "beside", "its spread", "stolen", "others"]


def write(found: Findings, page: Path) -> None:
    """Write the page.

    Raises:
        ValueError: a part of it was not measured.
    """
    if not found.rows or found.clock is None or not found.fits:
        raise ValueError("nothing to report: run it without --report first")
    tables = tables_of(found)
    shares = sorted({f"{row.share:.0%}" for row in found.rows if row.share is not None})
    parts = [
        words.HEAD.format(
            findings="\n".join(_findings(found)),
            draws=DRAWS,
            loaded=LOADED_DRAWS,
            share=" and ".join(one.replace("%", " %") for one in shares),
        ),
        *(part for of in range(0, len(tables), 4) for part in _section(*tables[of : of + 4])),
        *(part for of in added_tables_of(found) for part in _added(of)),
        *_controls(found.controls),
        _fits(found.fits),
        *_first_calls(found.calls),
        "## What this machine makes of a delay",
        "`escalade simulate clock`, in the same run.",
        "\n".join(f"- {line}" for line in clock_lines_of(found.clock)),
        *(f"{table.title}:\n\n{_markdown(table)}" for table in clock_tables_of(found.clock)),
        words.TAIL,
    ]
    with atomic_write(page) as stream:
        stream.write(("\n\n".join(parts) + "\n").encode())


def _section(
    values: TextTable, intervals: TextTable, rounds: TextTable, chances: TextTable
) -> list[str]:
    title = values.title[0].upper() + values.title[1:]
    return [
        f"## {title}",
        _markdown(values),
        "95 % intervals:",
        _markdown(intervals),
        "Each round alone:",
        _markdown(rounds),
        words.CHANCE,
        _markdown(chances),
    ]


def _added(table: TextTable) -> list[str]:
    return ["## Under load: call by call", words.ADDED, _markdown(table)]


def _markdown(table: TextTable) -> str:
    return markdown(table.head, ([cell.text for cell in row] for row in table.rows))


def _findings(found: Findings) -> Iterator[str]:
    """On how many networks each target is met, and on how many chance may be all there is."""
    kinds = [(_LOADS[load], [one for one in found.rows if one.load == load]) for load in LOADS]
    kinds.insert(1, ("Of these, those that the device sends on", found.sent))
    for title, all_rows in kinds:
        rows = [one for one in all_rows if get_profile(one.profile).rtt_ms >= _FROM_MS]
        met = []
        for of, most in TARGETS.items():
            within = sum(abs(one.error[of].value) <= most for one in rows)
            chance = sum(one.error[of].low <= 0 <= one.error[of].high for one in rows)
            met.append(f"{of} within {100 * most:g} % on {within} (0 in its interval on {chance})")
        worst = max(rows, key=lambda one: abs(one.error["p95"].value))
        yield (
            f"- {title}, of {len(rows)} pairs of a network of 10 ms or more and a number of"
            f" tiers: {', '.join(met)}; the worst p95 is {100 * worst.error['p95'].value:+.1f} %"
            f" ({worst.profile}, {worst.tiers} tiers). {_beyond(rows)}."
        )
    paired = [one.query_by_query for one in found.rows if one.query_by_query is not None]
    if paired:
        off = [100 * one.value for one in paired]
        fits = sum(one.low <= 0 <= one.high for one in paired)
        yield (
            f"- Of those that the device answers itself, query by query, virtual time is off by"
            f" {min(off):+.1f} to {max(off):+.1f} % (medians of {len(paired)} pairs, all networks;"
            f" 0 in its interval on {fits})."
        )


def _beyond(rows: Sequence[Compared]) -> str:
    """How many of the errors that are too large the network's chance alone may make."""
    missed = [
        row.chance[of].low <= row.error[of].value <= row.chance[of].high
        for row in rows
        for of, most in TARGETS.items()
        if abs(row.error[of].value) > most
    ]
    return f"Of {len(missed)} errors beyond, the network's chance alone explains {sum(missed)}"


def _controls(found: Sequence[tuple[str, int, list[Control]]]) -> list[str]:
    rows = [
        [
            name,
            str(tiers),
            _each(one.rate for one in of),
            _each((one.slowdown for one in of), digits=3),
            ", ".join(seconds(float(np.mean(one.beside_s))) for one in of),
            ", ".join(seconds(float(np.std(one.beside_s))) for one in of),
            seconds(sum(one.stolen_s for one in of)),
            _each((max(one.others) for one in of), digits=2),
        ]
        for name, tiers, of in sorted(found, key=lambda one: one[1])
    ]
    table = markdown(_CONTROL, rows)
    return ["## What the load is reckoned with", words.CONTROLS, table] if rows else []


def _each(numbers: Iterable[float], digits: int = 1) -> str:
    return ", ".join(f"{one:.{digits}f}" for one in numbers)


def _fits(found: Sequence[Fit]) -> str:
    return (
        f"`escalade load --fit` finds {_each((one.slowdown for one in found), digits=3)} of the"
        f" cloud alone, asked in closed loops of up to {found[0].slots} clients, and is off by"
        f" {_each(100 * one.error for one in found)} % on average."
    )


def _first_calls(rows: list[CallRow] | None) -> list[str]:
    if rows is None:
        return []
    table = markdown(first_calls.HEAD, map(first_calls.cells_of, rows))
    return ["## First calls", words.FIRST_CALLS, table]
