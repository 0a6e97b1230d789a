"""What an expert has said, out of traces; knows no model.

The expert is the last tier. What it said to a query is an example, whether the query was deferred
or audited; what the device answered itself is none. Left out, and counted, is what the expert did
not answer (degraded), what it did not finish (cut), and what another expert said than the one that
is there now. A prompt that came several times is there once, with the newest answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from escalade.edge.errors import DataError
from escalade.edge.trace import MemberAnswer, TierAnswer, Trace, TraceHeader, TraceRecord

_LEAST_TIERS = 2


class HeardCounts(msgspec.Struct, kw_only=True):
    """How many queries of the traces were what."""

    queries: int = 0
    #: Answered by the expert, since the tiers below were not sure.
    deferred: int = 0
    #: Answered below it, and the expert was asked all the same.
    audited: int = 0
    #: Answered below it, and the expert was not asked.
    kept: int = 0
    #: A tier that was due did not answer.
    degraded: int = 0
    #: The expert's answer is not finished.
    cut: int = 0
    #: Answered by another expert than the one that is there now.
    other_expert: int = 0
    #: Prompts that were there before.
    repeated: int = 0


class Heard(NamedTuple):
    """A prompt that came, and the newest answer of the expert."""

    task: str
    prompt: str
    #: None where the expert was not asked, or its answer was left out.
    answer: str | None


def hear(
    traces: Sequence[Trace], expert: TraceHeader, tokens_of: Callable[[str], int]
) -> tuple[list[Heard], HeardCounts]:
    """Every prompt of some traces, once, in the order in which they first came.

    Args:
        traces: from the oldest to the newest.
        expert: what a trace that begins now would say of the expert.
        tokens_of: how many tokens the expert's tokenizer makes of a text. An answer that has no
            token more than its text did not come to its end of sequence.

    Raises:
        DataError: a trace has a single tier.
    """
    counts = HeardCounts()
    found: dict[str, Heard] = {}
    revisions = _revisions(expert)
    for header, records in traces:
        if len(header.tiers) < _LEAST_TIERS:
            raise DataError(
                f"a trace of {header.created} has 1 tier, {header.tiers[0].name!r}; the expert is"
                " the last of 2 or more"
            )
        known = _same(revisions, _revisions(header))
        for record in records:
            counts.queries += 1
            answer = _answer(record, known, tokens_of, counts)
            before = found.get(record.prompt)
            counts.repeated += before is not None
            if before is None or answer is not None:
                found[record.prompt] = Heard(record.task, record.prompt, answer)
    return list(found.values()), counts


def _answer(
    record: TraceRecord, known: bool, tokens_of: Callable[[str], int], counts: HeardCounts
) -> str | None:
    """What the expert said to one query, if it may be learned from."""
    said = record.tiers[-1]
    if record.outcome == "degraded":
        counts.degraded += 1
    elif said is None:
        counts.kept += 1
    elif not known:
        counts.other_expert += 1
    elif not finished(said, tokens_of):
        counts.cut += 1
    else:
        deferred = record.answered_by == len(record.tiers) - 1
        counts.deferred += deferred
        counts.audited += not deferred
        return said.text
    return None


def finished(said: TierAnswer, tokens_of: Callable[[str], int]) -> bool:
    """Whether an answer came to its end of sequence; arguments as of `hear`."""
    if said.stopped_early:
        return False
    last: MemberAnswer = said.members[-1]  # of a gateway's, the one that gave the answer
    return last.generated_tokens > tokens_of(said.text)


def _revisions(header: TraceHeader) -> set[str]:
    """The revisions of the weights that answer at the last tier, as far as they are known."""
    members = header.tiers[-1].members
    return {one for one in (m.revision or m.program_sha256 for m in members) if one is not None}


def _same(one: set[str], other: set[str]) -> bool:
    return one == other or not (one and other)
