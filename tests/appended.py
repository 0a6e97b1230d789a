"""A device's trace that is added to, record by record, and what is in it."""

from __future__ import annotations

from pathlib import Path

import small_traces
from small_traces import device, header, tier_answer

from escalade.edge.trace import TraceAppender, TraceRecord, read_trace

DEVICE = device()
HEADER = header(DEVICE)


def record(identity: str, text: str = "a") -> TraceRecord:
    return small_traces.record(identity, tier_answer(text))


def add(path: Path, *identities: str) -> None:
    trace = TraceAppender(path, HEADER)
    for identity in identities:
        trace.append(lambda: HEADER, record(identity))


def ids(path: Path) -> list[str]:
    return [one.id for one in read_trace(path).records]
