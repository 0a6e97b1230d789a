"""Records a trace in shadow mode: every query asks both tiers; knows no simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from escalade.edge.base import Record
from escalade.edge.client import EdgeClient
from escalade.edge.deferral import defers
from escalade.edge.errors import CloudError
from escalade.edge.trace import TraceRecord, write_trace

# A cloud that is gone would cost a deadline for each remaining query.
_MAX_FAILURES_IN_A_ROW = 3


@dataclass
class RecordSummary:
    """What a recording came to."""

    queries: int = 0
    #: Queries whose score reaches the threshold.
    deferred: int = 0
    #: Queries the cloud was asked and did not answer.
    unanswered: int = 0


def record_trace(
    client: EdgeClient,
    records: Sequence[Record],
    out: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RecordSummary:
    """Ask both tiers every query and write the trace, aside and renamed.

    Raises:
        PromptError: a prompt does not fit the model; before anything is asked.
        CloudError: the cloud does not say who it is, or fails several queries in a row.
            Nothing is written then.
    """
    header = client.trace_header()
    for record in records:
        client.artifact.encode(record.prompt)
    summary = RecordSummary()

    def ask_all() -> Iterator[TraceRecord]:
        in_a_row = 0
        for record in records:
            asked = client.trace_record(record, shadow=True)
            in_a_row = in_a_row + 1 if asked.large is None else 0
            if in_a_row == _MAX_FAILURES_IN_A_ROW:
                raise CloudError(
                    "GONE", f"{in_a_row} queries in a row failed; the last: {asked.reason}"
                )
            summary.queries += 1
            summary.deferred += defers(asked.score, header.threshold)
            summary.unanswered += asked.large is None
            progress(summary.queries, len(records))
            yield asked

    write_trace(out, header, ask_all())
    return summary
