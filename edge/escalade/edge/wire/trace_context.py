"""The application's OpenTelemetry span, as a request says it; knows no server, needs no telemetry.

Whoever has an active span has imported OpenTelemetry: where it has not been, there is nothing to
say and nothing is imported. W3C Trace Context alone is sent, never the application's baggage.
"""

from __future__ import annotations

import sys

Metadata = tuple[tuple[str, str], ...]


def trace_metadata() -> Metadata:
    """`traceparent`, and `tracestate` where there is one; empty without an active span."""
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())
