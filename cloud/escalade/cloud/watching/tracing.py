"""Spans of requests for an OpenTelemetry collector, joined to the client's; needs `telemetry`.

A request is one span of the server with two children, its queue and its computation. While it is
computed it is the active span, so that a gateway's tiers elsewhere join it too. Names are those of
OpenTelemetry's conventions for RPC and generative AI, where these have one. No text is sent.
"""

from __future__ import annotations

import os
import time

import grpc
from opentelemetry import context as otel_context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from escalade.cloud.errors import StartError
from escalade.cloud.watching.call import Call
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.address import is_loopback, parse_address

_SERVICE = pb.DESCRIPTOR.services_by_name["CascadeService"].full_name
# Who ends waits so long for a collector that does not answer.
_EXPORT_S = 5
# Characters: 55 in version 00 of W3C Trace Context, and a later one may add to them.
_MOST_PARENT = 128
_PROPAGATOR = TraceContextTextMapPropagator()

# The server's own faults; all other codes are the client's (OpenTelemetry's conventions for gRPC).
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class Tracing:
    """Sends a span for each request.

    What OpenTelemetry's SDK reads of the environment holds: `OTEL_SERVICE_NAME`,
    `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_CERTIFICATE` and others.

    Args:
        collector: `HOST:PORT` of OTLP over gRPC; TLS is spoken off loopback.

    Raises:
        StartError: the address is malformed.
    """

    def __init__(self, collector: str) -> None:
        try:
            address = parse_address(collector)
        except ValueError as error:
            raise StartError(f"otlp {error}") from error
        scheme = "http" if is_loopback(address.host) else "https"
        exporter = OTLPSpanExporter(f"{scheme}://{address}", timeout=_EXPORT_S)
        name = os.environ.get("OTEL_SERVICE_NAME", "escalade")
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("escalade.cloud")
        self._spans: dict[Call, Span] = {}

    def began(self, call: Call) -> None:
        """See `Observer`: begins the span and makes it the active one of the call's task."""
        # Nothing else: what is wrong with a client's words, the library would log.
        carrier = {
            key: value
            for key, value in call.context.invocation_metadata() or ()
            if key == "traceparent" and isinstance(value, str) and len(value) <= _MOST_PARENT
        }
        span = self._tracer.start_span(
            f"{_SERVICE}/{call.rpc}",
            context=_PROPAGATOR.extract(carrier, otel_context.Context()),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": _SERVICE, "rpc.method": call.rpc},
        )
        otel_context.attach(set_span_in_context(span))
        self._spans[call] = span
        call.trace_id = f"{span.get_span_context().trace_id:032x}"

    def ended(self, call: Call) -> None:
        """See `Observer`."""
        span = self._spans.pop(call)
        end_ns = time.time_ns()
        if not span.is_recording():  # by the sampler's choice
            return
        span.set_attribute("rpc.grpc.status_code", call.code.value[0])
        if call.reason:
            span.set_attribute("error.type", call.reason)
        if call.code in _FAULTS:
            span.set_status(Status(StatusCode.ERROR, call.reason or call.code.name))
        outcome = call.outcome
        if outcome is not None:
            span.set_attributes(
                {
                    "gen_ai.response.model": outcome.model.name,
                    "gen_ai.usage.input_tokens": outcome.usage.prompt_tokens,
                    "gen_ai.usage.output_tokens": outcome.usage.generated_tokens,
                    "escalade.queue_seconds": outcome.timing.queue_s,
                }
            )
            began_ns = end_ns - _ns(call.seconds)
            computed_ns = began_ns + _ns(outcome.timing.queue_s)
            self._child(span, "queue", began_ns, computed_ns)
            self._child(span, "compute", computed_ns, computed_ns + _ns(outcome.timing.compute_s))
        if isinstance(outcome, pb.GenerateResponse):
            stop = pb.StopReason.Name(outcome.stop_reason).removeprefix("STOP_REASON_").lower()
            span.set_attributes(
                {
                    "gen_ai.response.finish_reasons": (stop,),
                    "escalade.degraded": outcome.degraded,
                    "escalade.tiers": tuple(report.tier for report in outcome.reports),
                }
            )
        if outcome is not None and isinstance(outcome, pb.GenerateResponse | pb.VerifyResponse):
            span.set_attribute(
                "escalade.draft.accepted_tokens", outcome.usage.accepted_draft_tokens
            )
        span.end(end_ns)

    def close(self) -> None:
        """Send what is still here; waits some seconds for a collector that is silent."""
        self._provider.shutdown()

    def _child(self, parent: Span, name: str, began_ns: int, ended_ns: int) -> None:
        child = self._tracer.start_span(
            name, context=set_span_in_context(parent), start_time=began_ns
        )
        child.end(ended_ns)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
