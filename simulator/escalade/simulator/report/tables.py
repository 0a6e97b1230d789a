"""The tables and sentences of a replay's report, as HTML; knows no figure, computes nothing.

Whatever came from outside (names, tasks, rules) is escaped here, where it enters the page.
"""

from __future__ import annotations

import html

from escalade.simulator.markup import (
    count,
    nominal_seconds,
    percent,
    seconds,
    signed,
    table,
    table_group,
    table_row,
)
from escalade.simulator.replay import ComparisonRow, Summary


def lede(summary: Summary) -> str:
    """What each cascade does at each of its thresholds, in a sentence."""
    large = {row.name: row.large_accuracy for row in summary.traces}
    return "\n".join(
        f'<p class="lede"><b>{html.escape(row.trace)}</b>, threshold {row.point.threshold:.4g}:'
        f" {percent(row.point.quality)} of the answers are correct (large model alone"
        f" {percent(large[row.trace])}) while {percent(row.calls_saved)} of the calls and"
        f" {percent(row.bytes_saved)} of the bytes are saved.</p>"
        for row in summary.points
    )


def traces_table(summary: Summary) -> str:
    """Who answered, under which rule: a column for each trace, so that it fits a phone."""
    rows = [
        ("Small model", [html.escape(row.small) for row in summary.traces]),
        ("Small model's parameters", [count(row.small_parameters) for row in summary.traces]),
        ("Small model's accuracy alone", [percent(row.small_accuracy) for row in summary.traces]),
        ("Large model", [html.escape(row.large) for row in summary.traces]),
        ("Large model's parameters", [count(row.large_parameters) for row in summary.traces]),
        ("Large model's accuracy alone", [percent(row.large_accuracy) for row in summary.traces]),
        ("Queries", [f"{row.queries:,}" for row in summary.traces]),
        ("Deferral rule", [html.escape(row.rule) for row in summary.traces]),
        ("Threshold when recorded", [f"{row.threshold:.4g}" for row in summary.traces]),
        (
            "Area under the deferral curve",
            [f"{row.area_under_curve:.4f}" for row in summary.traces],
        ),
        ("Recorded", [html.escape(row.created) for row in summary.traces]),
        ("Seed of this replay", [str(summary.seed) for _ in summary.traces]),
    ]
    head = ["", *(html.escape(row.name) for row in summary.traces)]
    return table(head, [table_row([label, *cells]) for label, cells in rows], kind="facts")


def points_table(summary: Summary) -> str:
    """Each trace at each threshold: what holds on any network."""
    rows = [
        [
            html.escape(row.trace),
            f"{row.point.threshold:.4g}",
            percent(row.point.quality),
            percent(row.point.a1),
            percent(row.point.a2),
            percent(row.point.deferral_rate),
            count(row.point.flops_per_token),
            count(row.point.flops_per_query),
        ]
        for row in summary.points
    ]
    head = (
        "Trace",
        "Threshold",
        "Accuracy",
        "A1 (kept)",
        "A2 (deferred)",
        "Deferral rate",
        "FLOPs<br>per token",
        "FLOPs<br>per query",
    )
    return table(head, map(table_row, rows))


def comparisons(summary: Summary) -> str:
    """Each further trace against the first, and what was left out."""
    return "".join(map(_comparison, summary.comparisons)) + "".join(
        f'<p class="soft">Note: {html.escape(note)}</p>' for note in summary.notes
    )


def profiles_table(summary: Summary) -> str:
    """Latency on each network, under what each trace and threshold saves on all of them."""
    head = (
        "Network",
        "RTT",
        "Cascade<br>p50",
        "Cascade<br>p95",
        "Cascade<br>mean",
        "Cloud only<br>p50",
        "Cloud only<br>p95",
        "Cloud only<br>mean",
    )
    body = []
    for at in summary.points:
        title = (
            f"{html.escape(at.trace)}, threshold {at.point.threshold:.4g}<br>"
            f"<span>accuracy {percent(at.point.quality)},"
            f" deferral rate {percent(at.point.deferral_rate)}; saves {percent(at.calls_saved)}"
            f" of the calls and {percent(at.bytes_saved)} of the bytes</span>"
        )
        body.append(table_group(title, len(head)))
        body.extend(
            table_row(
                [
                    html.escape(row.profile),
                    nominal_seconds(row.rtt_ms / 1e3),
                    *map(seconds, (row.cascade.p50_s, row.cascade.p95_s, row.cascade.mean_s)),
                    *map(
                        seconds, (row.cloud_only.p50_s, row.cloud_only.p95_s, row.cloud_only.mean_s)
                    ),
                ]
            )
            for row in summary.profiles
            if (row.trace, row.threshold) == (at.trace, at.point.threshold)
        )
    return table(head, body)


def tasks_table(summary: Summary) -> str:
    """Accuracy and deferral rate of each task."""
    head = ("Task", "Queries", "Small", "Cascade", "Large", "Deferral rate")
    body = []
    for at in summary.points:
        title = f"{html.escape(at.trace)}, threshold {at.point.threshold:.4g}"
        body.append(table_group(title, len(head)))
        body.extend(
            table_row(
                [
                    html.escape(row.task),
                    f"{row.accuracy.queries:,}",
                    percent(row.accuracy.small_accuracy),
                    percent(row.accuracy.cascade_accuracy),
                    percent(row.accuracy.large_accuracy),
                    percent(row.accuracy.deferral_rate),
                ]
            )
            for row in summary.tasks
            if (row.trace, row.threshold) == (at.trace, at.point.threshold)
        )
    return table(head, body)


def _comparison(row: ComparisonRow) -> str:
    quality, needs = row.quality, row.flops_per_token_at_equal_quality
    trace, baseline = html.escape(row.trace), html.escape(row.baseline)
    if needs is None:
        cost = f"{trace} does not reach {percent(quality.quality_b)} at any cost."
    else:
        cost = (
            f"For {percent(quality.quality_b)}, {trace} needs {count(needs)} FLOPs per token,"
            f" {signed(100 * (needs / row.flops_per_token - 1))}%."
        )
    return (
        f"<p>At {count(row.flops_per_token)} FLOPs per token, {trace} less {baseline}:"
        f" <b>{signed(100 * quality.difference)} points</b> of accuracy (95% interval"
        f" {signed(100 * quality.low)} to {signed(100 * quality.high)}; paired bootstrap,"
        f" {quality.queries:,} queries, {quality.resamples:,} resamples). {cost}</p>"
    )
