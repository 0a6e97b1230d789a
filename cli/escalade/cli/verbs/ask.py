"""`escalade ask` and `escalade record`: queries through the edge client; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.verbs.options import (
    ArtifactArgument,
    CaCertOption,
    DataOption,
    DeadlineOption,
    JsonOption,
    LimitOption,
    PlaintextOption,
    SendTextOption,
    ThresholdOption,
)

if TYPE_CHECKING:
    from escalade.edge import Answer

CloudOption = Annotated[
    str | None,
    typer.Option("--cloud", help="HOST:PORT of `escalade serve`; without it, answer locally."),
]


def ask(
    artifact: ArtifactArgument,
    prompt: Annotated[str, typer.Argument(help="The query, e.g. 'g2p: cascade'.")],
    cloud: CloudOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = 10.0,
    send_text: SendTextOption = False,
    ca_cert: CaCertOption = None,
    plaintext: PlaintextOption = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Add the query's record to this trace.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer one query: on the device, or from the cloud when the score says so.

    Exit code 2 when the cloud was needed and did not answer; the device's own answer is
    printed all the same, marked degraded.
    """
    from escalade.cli.errors import DegradedError
    from escalade.cli.output import print_json
    from escalade.edge import EdgeClient

    with EdgeClient.open(
        artifact,
        cloud=cloud,
        threshold=threshold,
        deadline_s=deadline_s,
        prompt_form="text" if send_text else "tokens",
        ca_cert=ca_cert,
        plaintext=plaintext or None,
        trace=trace,
    ) as client:
        answer = client.ask(prompt)
        if json:
            print_json(
                {
                    "answer": answer.text,
                    "answered_by": answer.answered_by,
                    "outcome": answer.outcome,
                    "score": answer.score,
                    "threshold": answer.threshold,
                    "would_defer": answer.would_defer,
                    "total_s": answer.total_s,
                    "small": answer.small,
                    "large": answer.large,
                    "reason": answer.reason,
                }
            )
        else:
            _show(answer, asked_cloud=cloud is not None)
    if answer.outcome == "degraded":
        raise DegradedError(f"degraded: {answer.reason}")


def record(
    artifact: ArtifactArgument,
    cloud: Annotated[str, typer.Option("--cloud", help="HOST:PORT of `escalade serve`.")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="The trace to write (JSON Lines).")],
    limit: LimitOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = 10.0,
    send_text: SendTextOption = False,
    ca_cert: CaCertOption = None,
    plaintext: PlaintextOption = False,
    json: JsonOption = False,
) -> None:
    """Ask both tiers every query (shadow mode) and write a trace that can be replayed."""
    from escalade.cli.output import note_console, print_json, progress_bar
    from escalade.edge import EdgeClient
    from escalade.edge.record import record_trace
    from escalade.edge.records import read_records, spread

    records = spread(read_records(data), limit)
    with (
        EdgeClient.open(
            artifact,
            cloud=cloud,
            threshold=threshold,
            deadline_s=deadline_s,
            prompt_form="text" if send_text else "tokens",
            ca_cert=ca_cert,
            plaintext=plaintext or None,
        ) as client,
        progress_bar("recording") as tick,
    ):
        summary = record_trace(client, records, out, progress=tick)
    if json:
        print_json(summary)
        return
    note_console().print(
        f"{summary.queries} queries, {summary.deferred} would defer,"
        f" {summary.unanswered} without an answer from the cloud"
    )
    note_console().print(f"trace: {out}")


def _show(answer: Answer, *, asked_cloud: bool) -> None:
    from escalade.cli.output import note_console, result_console

    result_console().print(answer.text)
    threshold = "not calibrated" if answer.threshold is None else f"{answer.threshold:.4f}"
    who = {
        "answered": "the device",
        "deferred": "the cloud",
        "degraded": "the device, degraded",
    }[answer.outcome]
    if answer.outcome == "answered" and answer.would_defer and not asked_cloud:
        who += "; with --cloud it would have been deferred"
    lines = [
        f"answered by {who}",
        f"score {answer.score:.4f}, threshold {threshold}",
        f"device {answer.small.generate_s * 1e3:.1f} ms, total {answer.total_s * 1e3:.1f} ms",
    ]
    if answer.large is not None:
        lines.append(
            f"cloud {answer.large.round_trip_s * 1e3:.1f} ms, of it"
            f" {answer.large.server_s * 1e3:.1f} ms on the server"
        )
    note_console().print("\n".join(lines), style="dim")
