"""How the demo shows its figures; knows no part but the shapes of its results."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cli.demo.live import LiveRow
from escalade.simulator.evaluation import Evaluation
from escalade.simulator.evaluation import lede as compared
from escalade.simulator.formats import Cell, TextTable
from escalade.simulator.replay import Summary
from escalade.simulator.replay import lede as replayed


def live_table(rows: Sequence[LiveRow]) -> TextTable:
    """A line for each network and system: who answered, what that saved, how long it took."""
    head = [
        "network",
        "tiers",
        "queries",
        "right",
        "answered by device / gateway / cloud",
        "calls saved",
        "bytes saved",
        "p50 / p95",
    ]
    return TextTable("The cascade, live", head, [_live_cells(row) for row in rows])


def _live_cells(row: LiveRow) -> list[Cell]:
    shares = (row.answered_by.get(place, 0.0) for place in ("device", "gateway", "cloud"))
    return [
        Cell(row.profile),
        Cell(row.system),
        Cell(str(row.queries)),
        Cell(f"{row.accuracy:.1%}"),
        Cell(" / ".join(f"{share:.0%}" for share in shares)),
        Cell(f"{row.calls_saved:.1%}"),
        Cell(f"{row.bytes_saved:.1%}"),
        Cell(_milliseconds(row.p50_s, row.p95_s)),
    ]


def comparison_lines(summary: Summary, evaluation: Evaluation) -> list[str]:
    """Each trace replayed, then each model against the first at equal cost and equal quality."""
    return [*replayed(summary), *compared(evaluation), *summary.notes]


def _milliseconds(*seconds: float) -> str:
    return " / ".join(f"{1e3 * value:.1f}" for value in seconds) + " ms"
