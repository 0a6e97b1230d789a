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
    Weight,
    flops_of,
    is_correct,
    latency_s,
    money_of,
)
from escalade.edge.trace.voices import is_broken, voice_of, voices_of, weights_of

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
    "Weight",
    "flops_of",
    "is_broken",
    "is_correct",
    "latency_s",
    "money_of",
    "read_trace",
    "read_traces",
    "voice_of",
    "voices_of",
    "weights_of",
    "write_trace",
]
