"""How the demo shows its figures; knows no part but the shapes of its results."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from escalade.cli.demo.live import LiveRow
from escalade.simulator.evaluation import Evaluation
from escalade.simulator.evaluation import lede as compared
from escalade.simulator.replay import Summary
from escalade.simulator.replay import lede as replayed


def live_table(rows: Sequence[LiveRow]) -> Table:
    """A line for each network and system: who answered, what that saved, how long it took."""
    table = Table(title="The cascade, live", title_justify="left")
    for heading in (
        "network",
        "tiers",
        "queries",
        "right",
        "answered by device / gateway / cloud",
        "calls saved",
        "bytes saved",
        "p50 / p95",
    ):
        left = heading in {"network", "tiers"}
        table.add_column(heading, justify="left" if left else "right")
    for before, row in zip([None, *rows], rows, strict=False):
        first = before is None or before.profile != row.profile
        if first and before is not None:
            table.add_section()
        shares = (row.answered_by.get(place, 0.0) for place in ("device", "gateway", "cloud"))
        table.add_row(
            row.profile if first else "",
            row.system,
            str(row.queries),
            f"{row.accuracy:.1%}",
            " / ".join(f"{share:.0%}" for share in shares),
            f"{row.calls_saved:.1%}",
            f"{row.bytes_saved:.1%}",
            _milliseconds(row.p50_s, row.p95_s),
        )
    return table


def comparison_lines(summary: Summary, evaluation: Evaluation) -> list[str]:
    """Each trace replayed, then each model against the first at equal cost and equal quality."""
    return [*replayed(summary), *compared(evaluation), *summary.notes]


def _milliseconds(*seconds: float) -> str:
    return " / ".join(f"{1e3 * value:.1f}" for value in seconds) + " ms"
