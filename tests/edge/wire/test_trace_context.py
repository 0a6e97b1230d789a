"""The application's span goes with a query, and nothing else of it; without one, nothing does."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider

from escalade.edge.wire.trace_context import trace_metadata


def test_an_active_span_is_said_and_no_baggage() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    assert trace_metadata() == ()
    token = context.attach(baggage.set_baggage("user", "private"))
    try:
        with tracer.start_as_current_span("ask") as span:
            said = span.get_span_context()
            value = f"00-{said.trace_id:032x}-{said.span_id:016x}-{said.trace_flags:02x}"
            assert trace_metadata() == (("traceparent", value),)
    finally:
        context.detach(token)
    assert trace_metadata() == ()


def test_a_device_that_traces_nothing_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from escalade.edge.wire.trace_context import trace_metadata\n"
        "assert trace_metadata() == ()\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
