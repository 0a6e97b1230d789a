"""The record of a query, and files of them; knows no model, no network."""

from escalade.edge.trace.trace import (
    TRACE_SCHEMA,
    LargeAnswer,
    ModelInfo,
    Outcome,
    SmallAnswer,
    Trace,
    TraceAppender,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)

__all__ = [
    "TRACE_SCHEMA",
    "LargeAnswer",
    "ModelInfo",
    "Outcome",
    "SmallAnswer",
    "Trace",
    "TraceAppender",
    "TraceHeader",
    "TraceRecord",
    "read_trace",
    "write_trace",
]
