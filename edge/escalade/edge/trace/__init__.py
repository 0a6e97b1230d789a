"""The record of a query, and files of them; knows no model, no network."""

from escalade.edge.trace.appender import TraceAppender
from escalade.edge.trace.files import read_trace, read_traces, write_trace
from escalade.edge.trace.schema import (
    TRACE_SCHEMA,
    DraftUse,
    Hop,
    Link,
    MemberAnswer,
    MemberInfo,
    Outcome,
    Place,
    TierAnswer,
    TierInfo,
    Trace,
    TraceHeader,
    TraceRecord,
    flops_of,
    is_correct,
    latency_s,
    money_of,
)

__all__ = [
    "TRACE_SCHEMA",
    "DraftUse",
    "Hop",
    "Link",
    "MemberAnswer",
    "MemberInfo",
    "Outcome",
    "Place",
    "TierAnswer",
    "TierInfo",
    "Trace",
    "TraceAppender",
    "TraceHeader",
    "TraceRecord",
    "flops_of",
    "is_correct",
    "latency_s",
    "money_of",
    "read_trace",
    "read_traces",
    "write_trace",
]
