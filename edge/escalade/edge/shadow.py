"""Records a trace in shadow mode: every query asks every tier; knows no simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from escalade.edge.base import Record, counted, named, naming
from escalade.edge.client import EdgeClient
from escalade.edge.errors import CloudError
from escalade.edge.policy import is_of_policy
from escalade.edge.tiers import Prompts, Query
from escalade.edge.trace import TraceRecord, write_trace

# A cloud that is gone would cost a deadline for each remaining query.
_MAX_FAILURES_IN_A_ROW = 3


@dataclass
class RecordSummary:
    """What a recording came to."""

    queries: int = 0
    #: Queries that the first gate sends on.
    deferred: int = 0
    #: Queries that some tier was asked and did not answer.
    unanswered: int = 0


def record_trace(
    client: EdgeClient,
    records: Sequence[Record],
    out: Path,
    *,
    where: Callable[[Record], str] = named,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RecordSummary:
    """Ask every tier every query and write the trace, aside and renamed.

    Args:
        client: whose tiers are asked.
        records: the queries.
        out: the trace.
        where: what messages call a record.
        progress: called with (queries asked, queries in all).

    Raises:
        PromptError: a prompt does not fit the first tier (the message says which record's); before
            anything is asked.
        CloudError: a tier elsewhere does not say who it is, the user agrees to no query, or several
            in a row are not answered. Nothing is written then.
    """
    guard = client.cascade.guard
    # Who is asked about each query is asked about the first before anybody is asked who he is.
    waits = guard is not None and guard.waits_for_word
    header = None if waits else client.trace_header()
    first = client.cascade.tiers[0]
    for record in records:
        with naming(where(record)):
            first.check(Prompts(Query(text=record.prompt)))
    summary = RecordSummary()

    def ask_all() -> Iterator[TraceRecord]:
        in_a_row = 0
        for record in records:
            with naming(where(record)):
                asked = client.trace_record(record, shadow=True)
            lacking = None in asked.tiers
            # What a policy keeps here says nothing of who is there.
            in_a_row = in_a_row + 1 if lacking and not is_of_policy(asked.reason) else 0
            if in_a_row == _MAX_FAILURES_IN_A_ROW:
                raise CloudError(
                    "GONE",
                    f"{counted(in_a_row, 'query')} in a row failed; the last: {asked.reason}",
                )
            summary.queries += 1
            summary.deferred += asked.answered_by > 0 or asked.outcome == "degraded"
            summary.unanswered += lacking
            progress(summary.queries, len(records))
            yield asked

    asked, held = ask_all(), list[TraceRecord]()
    while header is None:
        one = next(asked, None)
        held += [] if one is None else [one]
        if one is None or guard is None or not guard.waits_for_word:
            header = client.trace_header()
    write_trace(out, header, chain(held, asked))
    return summary
