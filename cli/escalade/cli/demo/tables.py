"""How the demo shows its figures; knows no part but the shapes of its results."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from escalade.cli.demo.live import LiveRow
from escalade.simulator.replay import Summary


def live_table(rows: Sequence[LiveRow]) -> Table:
    """One line for each network: quality, what stayed on the device, and how long it took."""
    table = Table(title="The cascade, live", title_justify="left")
    for heading in (
        "network",
        "queries",
        "edge only",
        "cloud only",
        "cascade",
        "deferred",
        "calls saved",
        "bytes saved",
        "cascade p50 / p95",
        "cloud only p50 / p95",
    ):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in rows:
        table.add_row(
            row.profile,
            str(row.queries),
            *(
                f"{share:.1%}"
                for share in (
                    row.edge_accuracy,
                    row.cloud_accuracy,
                    row.cascade_accuracy,
                    row.deferral_rate,
                    row.calls_saved,
                    row.bytes_saved,
                )
            ),
            _milliseconds(row.cascade_p50_s, row.cascade_p95_s),
            _milliseconds(row.cloud_only_p50_s, row.cloud_only_p95_s),
        )
    return table


def comparison_lines(summary: Summary) -> list[str]:
    """Each trace's own accuracies, then each against the first at equal FLOPs."""
    lines = [
        f"{row.name}: small model alone {row.small_accuracy:.1%}, large {row.large_accuracy:.1%},"
        f" area under the deferral curve {row.area_under_curve:.4f} ({row.queries} queries)"
        for row in summary.traces
    ]
    for row in summary.comparisons:
        change = row.quality
        lines.append(
            f"{row.trace} against {row.baseline} at equal FLOPs"
            f" ({row.flops_per_token / 1e6:.2f} MFLOPs a token): {change.difference:+.1%}"
            f" (95 % interval {change.low:+.1%} to {change.high:+.1%})"
        )
    return [*lines, *summary.notes]


def _milliseconds(*seconds: float) -> str:
    return " / ".join(f"{1e3 * value:.1f}" for value in seconds) + " ms"
