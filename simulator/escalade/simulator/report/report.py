"""Writes a simulation as one HTML page that needs no network; knows no formula of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from pathlib import Path

from escalade.edge.trace import Trace
from escalade.simulator.markup import nominal_seconds
from escalade.simulator.network import Profile
from escalade.simulator.replay import GRPC_BYTES_DOWN, GRPC_BYTES_UP, Study, run_study
from escalade.simulator.report import figures, tables
from escalade.simulator.report.page import figure_html, page, write_html

_METHOD = f"""
<ul>
<li>A query is deferred when its score reaches the threshold (equation 4 of
<i>Cascade-Aware Training of Language Models</i>, arXiv 2406.00060). Every threshold is a
replay of recorded answers; no model ran for this page.</li>
<li>Accuracy is the share of correct answers, A1 + A2 (equation 9): correct and kept on the
device, plus correct and deferred. The dotted line defers at random.</li>
<li>FLOPs per token: 2 x parameters of the small model, plus deferral rate x 2 x parameters of
the large one (section 4.1). FLOPs per query count the tokens each model read and wrote.</li>
<li>Latency runs in virtual time: the recorded time on the device, and for a deferred query the
recorded round trip over loopback plus the network's delay each way. Queries do not contend.
Bytes are the recorded messages plus {GRPC_BYTES_UP} B up and {GRPC_BYTES_DOWN} B down of gRPC
framing for a call on a warm connection, TCP/IP headers excluded.</li>
<li>The share of calls saved and the share of bytes saved differ, because hard queries are
longer or shorter than easy ones.</li>
</ul>
"""


def write_report(
    path: Path,
    traces: Mapping[str, Trace],
    profiles: Iterable[Profile],
    thresholds: Iterable[float] = (),
    *,
    seed: int,
) -> None:
    """Replay traces in memory and write the page; arguments as for `run_study`."""
    write_simulation_page(path, run_study(traces, profiles, thresholds, seed=seed))


def write_simulation_page(path: Path, study: Study) -> None:
    """Write the page of a finished study; the same study gives the same page."""
    summary = study.summary
    quality = (
        figure_html(
            "quality-flops",
            "Deferral curve",
            figures.quality_against_flops(study),
            "From no deferral (left) to every query deferred (right), at every distinct score.",
        )
        + tables.comparisons(summary)
        + tables.points_table(summary)
        + figure_html(
            "quality-rate",
            "Accuracy against deferral rate",
            figures.quality_against_deferral_rate(study),
            "The same accuracy against the share of queries sent to the large model.",
        )
        + figure_html(
            "shares",
            "Where the correct answers come from",
            figures.shares_against_deferral_rate(study),
            "A1: kept on the device and correct. A2: deferred and correct. Their sum is the"
            " accuracy.",
        )
    )
    source = page(
        "Cascade replay: " + html.escape(", ".join(study.curves)),
        tables.lede(summary),
        [
            ("What was replayed", tables.traces_table(summary)),
            ("Quality and cost", quality),
            ("Latency on each network", _latency(study)),
            ("By task", tables.tasks_table(summary)),
            ("How to read this", _METHOD + _sources(study.profiles)),
        ],
    )
    write_html(path, source)


def _latency(study: Study) -> str:
    latencies = figures.latency_distributions(study)
    return (
        "<p>Share of queries answered within a time. Cloud only is the recorded large"
        f" model's answers of {html.escape(next(iter(study.curves)))}.</p>"
        + '<div class="grid">'
        + "".join(
            figure_html(f"latency-{k}", _network_title(profile), latencies[profile.name])
            for k, profile in enumerate(study.profiles)
        )
        + "</div>"
        + tables.profiles_table(study.summary)
    )


def _network_title(profile: Profile) -> str:
    return f"{html.escape(profile.name)}, RTT {nominal_seconds(profile.rtt_ms / 1e3)}"


def _sources(profiles: Iterable[Profile]) -> str:
    """Where each network's numbers come from."""
    items = "".join(
        f"<li><b>{html.escape(profile.name)}</b>: {html.escape(profile.source)}</li>"
        for profile in profiles
    )
    return f"<p>Networks:</p><ul>{items}</ul>"
