"""An OpenTelemetry collector: takes spans over OTLP and keeps them; a thread of this process."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 60


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that come, with the name of the service that sent them."""

    def __init__(self) -> None:
        self.address = ""
        self.spans: dict[tuple[str, str], list[Span]] = {}
        self._came: queue.SimpleQueue[tuple[str, Span]] = queue.SimpleQueue()

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            [service] = [
                one.value.string_value
                for one in resource.resource.attributes
                if one.key == "service.name"
            ]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._came.put((service, span))
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, *wanted: tuple[str, str]) -> list[Span]:
        """The first span of each (service, name), as soon as all have come."""
        while not (self._came.empty() and self.spans.keys() >= set(wanted)):
            service, span = self._came.get(timeout=WAIT_S)
            self.spans.setdefault((service, span.name), []).append(span)
        return [self.spans[one][0] for one in wanted]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of loopback."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    collector = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def attributes(span: Span) -> dict[str, Any]:
    """Of a span, as Python's values."""
    return {one.key: _value(one.value) for one in span.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
