"""The tables and sentences of the report, as HTML; knows no figure and computes nothing.

Whatever came from outside (names, tasks, rules) is escaped here, where it enters the page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from escalade.simulator.summary import ComparisonRow, Summary

_PREFIXES = ("", "k", "M", "G", "T", "P")
_MINUS = "\N{MINUS SIGN}"


def percent(share: float) -> str:
    """`0.7312` as `73.1%`."""
    return f"{100 * share:.1f}%"


def seconds(value_s: float) -> str:
    """A measured time, three significant digits with a unit: `84.2 ms`, `1.20 s`."""
    value, unit = _in_unit(value_s)
    return f"{_three_digits(value)} {unit}"


def nominal_seconds(value_s: float) -> str:
    """A time that was set, not measured, without trailing zeros: `10 ms`, `1 s`."""
    value, unit = _in_unit(value_s)
    return f"{value:.4g} {unit}"


def count(value: float) -> str:
    """Three significant digits with a prefix: `4210000` as `4.21 M`."""
    power = 0
    while value >= 999.5 and power < len(_PREFIXES) - 1:  # noqa: PLR2004
        value, power = value / 1000, power + 1
    return f"{_three_digits(value)} {_PREFIXES[power]}".rstrip()


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
    return _wrap(head, [_row([label, *cells]) for label, cells in rows], kind="facts")


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
    return _wrap(head, map(_row, rows))


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
        body.append(_group(title, len(head)))
        body.extend(
            _row(
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
    return _wrap(head, body)


def tasks_table(summary: Summary) -> str:
    """Accuracy and deferral rate of each task."""
    head = ("Task", "Queries", "Small", "Cascade", "Large", "Deferral rate")
    body = []
    for at in summary.points:
        title = f"{html.escape(at.trace)}, threshold {at.point.threshold:.4g}"
        body.append(_group(title, len(head)))
        body.extend(
            _row(
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
    return _wrap(head, body)


def _comparison(row: ComparisonRow) -> str:
    quality, needs = row.quality, row.flops_per_token_at_equal_quality
    trace, baseline = html.escape(row.trace), html.escape(row.baseline)
    if needs is None:
        cost = f"{trace} does not reach {percent(quality.quality_b)} at any cost."
    else:
        cost = (
            f"For {percent(quality.quality_b)}, {trace} needs {count(needs)} FLOPs per token,"
            f" {_signed(100 * (needs / row.flops_per_token - 1))}%."
        )
    return (
        f"<p>At {count(row.flops_per_token)} FLOPs per token, {trace} less {baseline}:"
        f" <b>{_signed(100 * quality.difference)} points</b> of accuracy (95% interval"
        f" {_signed(100 * quality.low)} to {_signed(100 * quality.high)}; paired bootstrap,"
        f" {quality.queries:,} queries, {quality.resamples:,} resamples). {cost}</p>"
    )


def _group(title: str, columns: int) -> str:
    return f'<tr class="group"><th colspan="{columns}"><div>{title}</div></th></tr>'


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return (
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others)
    ) + "</tr>"


def _wrap(head: Sequence[str], body: Iterable[str], kind: str = "figures") -> str:
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "\n".join(body)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", _MINUS)


def _in_unit(value_s: float) -> tuple[float, str]:
    if value_s >= 1 or value_s == 0:
        return value_s, "s"
    return (1e3 * value_s, "ms") if value_s >= 1e-3 else (1e6 * value_s, "µs")  # noqa: PLR2004


def _three_digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"
