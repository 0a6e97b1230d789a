"""What Prometheus is told of a server; knows no service, no backend, no port.

Labels take values of ours alone: names of RPCs, codes, reasons of the contract, tiers of the
configuration. Nothing that a client chooses makes a time series.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from escalade.cloud.backends import Backend
from escalade.cloud.watching.call import Call
from escalade.v1 import cascade_pb2 as pb

# Seconds. The steps that OpenTelemetry's conventions for generative AI give to gen_ai.server.* and
# gen_ai.client.operation.duration, and finer ones below them: the bundled large model answers in
# 8 ms, a token of it takes 1 ms. Above, for answers of minutes.
_FIRST_TOKEN_S = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
_BETWEEN_TOKENS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5,
)  # fmt: skip
_WHOLE_S = (
    0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96,
    81.92, 163.84, 327.68,
)  # fmt: skip

# A tier of a server further up that this one's configuration does not name.
_OTHER_TIER = "other"


class Metrics:
    """Counts what calls come to."""

    def __init__(self) -> None:
        self.registry = registry = _Registry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "escalade_requests_total",
            "Requests that ended, by gRPC's code and the contract's reason.",
            ("rpc", "code", "reason"),
            registry=registry,
        )
        self._in_flight = Gauge(
            "escalade_requests_in_flight", "Requests under way.", ("rpc",), registry=registry
        )
        self._seconds = Histogram(
            "escalade_request_duration_seconds",
            "From a request's coming to its end.",
            ("rpc", "code"),
            registry=registry,
            buckets=_WHOLE_S,
        )
        self._queue = Histogram(
            "escalade_queue_wait_seconds",
            "For which a request that was answered waited for its turn.",
            ("rpc",),
            registry=registry,
            buckets=_WHOLE_S,
        )
        self._first = Histogram(
            "escalade_time_to_first_token_seconds",
            "From a stream's request to its first token.",
            registry=registry,
            buckets=_FIRST_TOKEN_S,
        )
        self._between = Histogram(
            "escalade_time_between_tokens_seconds",
            "From one token of a stream to the next, as its client takes them.",
            registry=registry,
            buckets=_BETWEEN_TOKENS_S,
        )
        self._prompt = Counter(
            "escalade_prompt_tokens_total",
            "Tokens of prompts that were answered.",
            registry=registry,
        )
        self._generated = Counter(
            "escalade_generated_tokens_total", "Tokens of answers.", registry=registry
        )
        self._offered = Counter(
            "escalade_draft_tokens_offered_total",
            "Tokens of drafts that came with requests that were answered.",
            registry=registry,
        )
        self._accepted = Counter(
            "escalade_draft_tokens_accepted_total",
            "Tokens of drafts that the large model would have chosen too.",
            registry=registry,
        )
        self._tiers_said = Counter(
            "escalade_tier_answers_total",
            "What each tier that a query came to said: its answer stood (answered), was not trusted"
            " (deferred), or did not come (failed).",
            ("tier", "outcome"),
            registry=registry,
        )
        self._degraded = Counter(
            "escalade_degraded_answers_total",
            "Answers of a lower tier because a higher one that was due did not answer.",
            registry=registry,
        )
        self._tiers: frozenset[str] = frozenset()
        # `labels` takes three times as long as what it finds.
        self._by_end: dict[tuple[str, grpc.StatusCode, str], tuple[Counter, Histogram]] = {}
        self._in_flight_by: dict[str, Gauge] = {}
        self._queue_by: dict[str, Histogram] = {}

    def watch(self, backend: Backend) -> None:
        """Tell of a backend too: who computes, its tiers, its gauges; once it has loaded."""
        self._tiers = frozenset(tier.tier for tier in backend.info.tiers)
        self.registry.register(_OfBackend(backend))

    def began(self, call: Call) -> None:
        """See `Observer`."""
        self._in_flight_of(call.rpc).inc()

    def ended(self, call: Call) -> None:
        """See `Observer`."""
        self._in_flight_of(call.rpc).dec()
        requests, seconds = self._of_end(call)
        requests.inc()
        seconds.observe(call.seconds)
        if call.pieces:
            self._stream(call)
        outcome = call.outcome
        if outcome is None or call.code is not grpc.StatusCode.OK:
            return
        self._queue_of(call.rpc).observe(outcome.timing.queue_s)
        self._prompt.inc(outcome.usage.prompt_tokens)
        self._generated.inc(outcome.usage.generated_tokens)
        if isinstance(outcome, pb.GenerateResponse):
            self._answer(outcome)
        if isinstance(call.asked, pb.GenerateRequest | pb.VerifyRequest) and call.asked.HasField(
            "draft"
        ):
            self._offered.inc(len(call.asked.draft.tokens.ids))
            self._accepted.inc(outcome.usage.accepted_draft_tokens)

    def _in_flight_of(self, rpc: str) -> Gauge:
        if rpc not in self._in_flight_by:
            self._in_flight_by[rpc] = self._in_flight.labels(rpc)
        return self._in_flight_by[rpc]

    def _queue_of(self, rpc: str) -> Histogram:
        if rpc not in self._queue_by:
            self._queue_by[rpc] = self._queue.labels(rpc)
        return self._queue_by[rpc]

    def _of_end(self, call: Call) -> tuple[Counter, Histogram]:
        key = call.rpc, call.code, call.reason
        found = self._by_end.get(key)
        if found is None:
            code = call.code.name
            found = self._by_end[key] = (
                self._requests.labels(call.rpc, code, call.reason),
                self._seconds.labels(call.rpc, code),
            )
        return found

    def _stream(self, call: Call) -> None:
        before = call.pieces[0]
        self._first.observe(before.at_s - call.began_s)
        for piece in call.pieces[1:]:
            # Those that come together have shared the time.
            for _ in range(piece.tokens):
                self._between.observe((piece.at_s - before.at_s) / piece.tokens)
            before = piece

    def _answer(self, response: pb.GenerateResponse) -> None:
        if response.degraded:
            self._degraded.inc()
        stands = max(
            (place for place, report in enumerate(response.reports) if not report.reason),
            default=None,
        )
        for place, report in enumerate(response.reports):
            outcome = "deferred"
            if report.reason:
                outcome = "failed"
            elif place == stands:
                outcome = "answered"
            tier = report.tier if report.tier in self._tiers else _OTHER_TIER
            self._tiers_said.labels(tier, outcome).inc()


class _Registry(CollectorRegistry):
    """Leaves out when each series was created: of OpenMetrics, and as many series again."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [
                sample for sample in metric.samples if not sample.name.endswith("_created")
            ]
            yield metric


class _OfBackend(Collector):
    """What a backend says of itself, asked when Prometheus asks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def collect(self) -> Iterable[Metric]:
        info = self._backend.info
        model = {"model": info.model.name, "revision": info.model.revision, "engine": info.engine}
        yield InfoMetricFamily("escalade_model", "Who computes.", model)
        yield GaugeMetricFamily(
            "escalade_healthy", "1 where requests are worth sending.", self._backend.health()
        )
        yield GaugeMetricFamily(
            "escalade_queue_capacity", "Requests that may wait.", info.queue_capacity
        )
        for gauge in self._backend.gauges():
            yield GaugeMetricFamily(f"escalade_{gauge.name}", gauge.meaning, gauge.value)
