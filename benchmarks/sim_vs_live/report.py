"""The page docs/results-simulator.md, and the same tables for a terminal; measures nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from benchmarks.sim_vs_live import first_calls
from benchmarks.sim_vs_live.comparing import STATISTICS, Compared, compared
from benchmarks.sim_vs_live.first_calls import CallRow
from benchmarks.sim_vs_live.pieces import DRAWS, LOADED_DRAWS, LOADS, pieces_in
from benchmarks.study_online.report.tables import markdown

from escalade.edge.base import atomic_write
from escalade.simulator.formats import Cell, TextTable, seconds
from escalade.simulator.load.fitting import Fit
from escalade.simulator.network import get_profile
from escalade.simulator.timing import lines_of as clock_lines_of
from escalade.simulator.timing import tables_of as clock_tables_of
from escalade.simulator.timing.report import ClockReport

#: Root mean square of what a p95 is off by chance, were there as many queries as that takes.
_CLOSE = 0.03
#: What is aimed at, where a round trip takes 10 ms or more.
_FROM_MS = 10.0
_TARGETS = {"p50": 0.05, "p95": 0.05, "mean": 0.02}
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
    #: By tiers: what a call takes beside, seconds.
    overheads_s: dict[int, float]


def read_findings(folder: Path) -> Findings:
    """Whatever of it is in a folder."""

    def read(name: str, kind: type[T]) -> T | None:
        path = folder / f"{name}.json"
        return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None

    pieces = sorted(pieces_in(folder), key=lambda one: get_profile(one.profile).rtt_ms)
    controls = {tiers: read(f"control-{tiers}", float) for tiers in (2, 3)}
    return Findings(
        rows=[compared(one) for one in pieces],
        sent=[compared(one, sent_only=True) for one in pieces if one.load == "light"],
        clock=read("clock", ClockReport),
        calls=read("first-calls", list[CallRow]),
        fit=read("fit", Fit),
        overheads_s={tiers: value for tiers, value in controls.items() if value is not None},
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
        within = chance.low <= error <= chance.high or abs(error) <= _TARGETS.get(of, math.inf)
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


def write(found: Findings, page: Path) -> None:
    """Write the page.

    Raises:
        ValueError: a part of it was not measured.
    """
    if not found.rows or found.clock is None or found.fit is None:
        raise ValueError("nothing to report: run it without --report first")
    tables = tables_of(found)
    parts = [
        _HEAD.format(findings="\n".join(_findings(found)), draws=DRAWS, loaded=LOADED_DRAWS),
        *(part for of in range(0, len(tables), 3) for part in _section(*tables[of : of + 3])),
        _fit(found.fit, found.overheads_s),
        *_first_calls(found.calls),
        "## What this machine makes of a delay",
        "`escalade simulate clock`, in the same run.",
        "\n".join(f"- {line}" for line in clock_lines_of(found.clock)),
        *(f"{table.title}:\n\n{_markdown(table)}" for table in clock_tables_of(found.clock)),
        _TAIL,
    ]
    with atomic_write(page) as stream:
        stream.write(("\n\n".join(parts) + "\n").encode())


def _section(values: TextTable, intervals: TextTable, chances: TextTable) -> list[str]:
    title = values.title[0].upper() + values.title[1:]
    return [
        f"## {title}",
        _markdown(values),
        "95 % intervals:",
        _markdown(intervals),
        _CHANCE,
        _markdown(chances),
    ]


def _markdown(table: TextTable) -> str:
    return markdown(table.head, ([cell.text for cell in row] for row in table.rows))


def _findings(found: Findings) -> Iterator[str]:
    """On how many networks each target is met, and on how many chance may be all there is."""
    for load in LOADS:
        rows = [
            one
            for one in found.rows
            if one.load == load and get_profile(one.profile).rtt_ms >= _FROM_MS
        ]
        met = []
        for of, most in _TARGETS.items():
            within = sum(abs(one.error[of].value) <= most for one in rows)
            chance = sum(one.error[of].low <= 0 <= one.error[of].high for one in rows)
            met.append(f"{of} within {100 * most:g} % on {within} (0 in its interval on {chance})")
        worst = max(rows, key=lambda one: abs(one.error["p95"].value))
        yield (
            f"- {_LOADS[load]}, of {len(rows)} pairs of a network of 10 ms or more and a number of"
            f" tiers: {', '.join(met)}; the worst p95 is {100 * worst.error['p95'].value:+.1f} %"
            f" ({worst.profile}, {worst.tiers} tiers). {_beyond(rows)}."
        )


def _beyond(rows: Sequence[Compared]) -> str:
    """How many of the errors that are too large the network's chance alone may make."""
    missed = [
        row.chance[of].low <= row.error[of].value <= row.chance[of].high
        for row in rows
        for of, most in _TARGETS.items()
        if abs(row.error[of].value) > most
    ]
    return f"Of {len(missed)} errors beyond, the network's chance alone explains {sum(missed)}"


def _fit(fit: Fit, overheads_s: dict[int, float]) -> str:
    took = ", ".join(
        f"{seconds(value)} with {tiers} tiers" for tiers, value in sorted(overheads_s.items())
    )
    return (
        "## What the load is reckoned with\n\n"
        f"Each query beside it makes one take {fit.slowdown:.3f} times longer in the cloud"
        f" (`escalade load --fit`, up to {fit.slots} at once, on other queries; it is off by"
        f" {100 * fit.error:.1f} % on average). The control, at zero delay and 15 % of its time,"
        f" adds {took} to a call."
    )


def _first_calls(rows: list[CallRow] | None) -> list[str]:
    if rows is None:
        return []
    table = markdown(first_calls.HEAD, map(first_calls.cells_of, rows))
    return ["## First calls", _FIRST_CALLS, table]


_LOADS = {"light": "One query after the other", "loaded": "Under load"}

_HEAD = """# The simulator, held against what it simulates

A cascade of the bundled models, each tier a process, the live proxy on each link; and the same
queries in virtual time. Three small models on the device (4 bits) that must agree, else the query
goes up: to the large one in the cloud, or to two at a gateway (8 bits) and then to the cloud. Each
cell has the live value, and by how much virtual time is off; KS is the largest distance of the two
distribution functions.

{findings}

Beside it, what others say of theirs: Vidur is within 9 % of measured latencies, LLMServingSim
within 1 % of vLLM. They simulate the server; here it is recorded or fitted, and what is simulated
are the networks, the climb and the queue.

Under light load one query comes after the other. What each takes beside its network is recorded by
a second cascade that is asked in turns with it and does not delay, and replayed on the network,
which virtual time draws {draws} times, under load {loaded}; live there is one draw of it.
Between the two a machine's own noise remains: it is all that there is at 1 us. One answer takes
more or less from one time to the next by as much as most of these differences, so that the
intervals say more than the values. A third table has what the network's chance alone makes of a run
of so many queries: where it is nothing, all of an error is the machine's or the simulator's.

Under load calls come at moments of chance, the same ones in virtual time, where they go through the
fleet's queue, and over as many connections as live: 16 of the device's link, one from the gateway
on. What stalls on one holds up what is behind it, and among that are gRPC's own pings, which go
ahead of an answer. They would keep the cloud at work for 70 % of the time if it took one at a time.
What it can do in batches is several times that, and was not tried: servers, clients and the live
proxy, which spins for up to 2 ms before each moment that it waits for, share two cores here."""

_CHANCE = """What one draw of the network is off by chance, 95 % of them; "beyond" where an error is
larger than is aimed at, and than this explains. The last column has how many queries make the p95
of a draw differ by 3 % (root mean square), or as many as there were:"""

_FIRST_CALLS = """Over the kernel's own TCP and a network of 200 ms, in round trips; the rule is
what virtual time reckons with (`--dialled`) and what the live proxy does. Messages of more than ten
packets take more on a new connection (TCP's slow start), and after a pause: that is left out."""

_TAIL = """## Do it again

<!-- not run: eight minutes of a machine that has nothing else to do -->

    make sim-vs-live
    make sim-vs-live ARGS="--queries 1000 --calls 2000 --out FOLDER"
    make sim-vs-live ARGS=--report

The first takes 8 minutes, as above; the second has ten times the queries and takes an hour. What is
in the folder (`runs/sim-vs-live`) is not measured again. One seed (`--seed 1`) decides queries,
moments and networks; live times differ from run to run."""
