"""What Prometheus is told of a server; knows no service, no backend, no port.

Labels take values of ours alone: names of RPCs, codes, reasons of the contract, tiers of the
configuration. Nothing that a client chooses makes a time series.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import grpc
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from escalade.cloud.backends import Backend
from escalade.cloud.rpcs import CATALOGUE
from escalade.cloud.watching.call import Call, Outcome
from escalade.cloud.watching.tally import Spread
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason

# Seconds. The steps that OpenTelemetry's conventions for generative AI give to gen_ai.server.* and
# gen_ai.client.operation.duration, and finer ones below them: the bundled large model answers in
# 8 ms, a token of it takes 1 ms. Above, for answers of minutes.
_FIRST_TOKEN_S = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0,
)  # fmt: skip
_BETWEEN_TOKENS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0,
    2.5,
)  # fmt: skip
_WHOLE_S = (
    0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96,
    81.92, 163.84, 327.68,
)  # fmt: skip

_RPCS = tuple(pb.DESCRIPTOR.services_by_name["CascadeService"].methods_by_name)
_OK = grpc.StatusCode.OK.name
# A tier of a server further up that this one's configuration does not name.
_OTHER_TIER = "other"


class Metrics(Collector):
    """Counts what calls come to."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._in_flight = dict.fromkeys(_RPCS, 0)
        # A ratio with a series that is not there yet would be no number: Prometheus' own advice.
        ends = {(entry.code.name, name_of_reason(entry.reason)) for entry in CATALOGUE.values()}
        ends |= {(_OK, ""), (grpc.StatusCode.CANCELLED.name, "")}
        self._requests: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self._requests.update({(rpc, *end): 0 for rpc in _RPCS for end in ends})
        self._whole = {rpc: Spread(_WHOLE_S) for rpc in _RPCS}
        self._queue = {rpc: Spread(_WHOLE_S) for rpc in _RPCS}
        self._first, self._between = Spread(_FIRST_TOKEN_S), Spread(_BETWEEN_TOKENS_S)
        self._prompt = self._generated = self._offered = self._accepted = self._degraded = 0
        self._tiers_said: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self._tiers: frozenset[str] = frozenset()
        self.registry.register(self)

    def watch(self, backend: Backend) -> None:
        """Tell of a backend too: who computes, its tiers, its gauges; once it has loaded."""
        self._tiers = frozenset(tier.tier for tier in backend.info.tiers)
        self.registry.register(_OfBackend(backend))

    def began(self, call: Call) -> None:
        """See `Observer`."""
        self._in_flight[call.rpc] += 1

    def ended(self, call: Call) -> None:
        """See `Observer`."""
        rpc, code, outcome = call.rpc, call.code.name, call.outcome
        self._in_flight[rpc] -= 1
        self._requests[rpc, code, call.reason] += 1
        if call.pieces:
            self._stream(call)
        if outcome is None or code != _OK:
            return
        self._whole[rpc].add(call.ended_s - call.began_s)
        self._queue[rpc].add(outcome.timing.queue_s)
        usage = outcome.usage
        self._prompt += usage.prompt_tokens
        self._generated += usage.generated_tokens
        asked = call.asked
        if not isinstance(asked, pb.ScoreRequest) and asked is not None and asked.HasField("draft"):
            # A text is as many tokens as were made of it.
            self._offered += len(asked.draft.tokens.ids) or _outcome_of(outcome).draft_count
            self._accepted += usage.accepted_draft_tokens
        if isinstance(outcome, pb.GenerateResponse):
            self._answer(outcome)

    def _stream(self, call: Call) -> None:
        before = call.pieces[0]
        self._first.add(before.at_s - call.began_s)
        for piece in call.pieces[1:]:
            if piece.tokens:  # those that come together have shared the time
                self._between.add((piece.at_s - before.at_s) / piece.tokens, piece.tokens)
            before = piece

    def _answer(self, response: pb.GenerateResponse) -> None:
        if response.degraded:
            self._degraded += 1
        later = "answered"  # of those that answered, the last gave the answer
        for report in reversed(response.reports):
            tier = report.tier
            if tier not in self._tiers:
                tier = _OTHER_TIER
            if report.reason:
                self._tiers_said[tier, "failed"] += 1
            else:
                self._tiers_said[tier, later] += 1
                later = "deferred"

    def collect(self) -> Iterable[Metric]:
        """See the library's `Collector`; in the thread of a reader."""
        yield _counter(
            "requests",
            "Requests that ended, by gRPC's code and the contract's reason.",
            ("rpc", "code", "reason"),
            self._requests.copy(),
        )
        in_flight = GaugeMetricFamily(
            "escalade_requests_in_flight", "Requests under way.", labels=("rpc",)
        )
        for rpc, number in self._in_flight.items():
            in_flight.add_metric((rpc,), number)
        yield in_flight
        yield _histogram(
            "request_duration",
            "From the coming of a request that was answered to its end.",
            ("rpc",),
            {(rpc,): spread for rpc, spread in self._whole.items()},
        )
        yield _histogram(
            "queue_wait",
            "For which a request that was answered waited for its turn.",
            ("rpc",),
            {(rpc,): spread for rpc, spread in self._queue.items()},
        )
        yield _histogram(
            "time_to_first_token", "From a stream's request to its first token.", (), self._first
        )
        yield _histogram(
            "time_between_tokens",
            "From one token of a stream to the next, as its client takes them.",
            (),
            self._between,
        )
        yield _counter("prompt_tokens", "Tokens of prompts that were answered.", (), self._prompt)
        yield _counter("generated_tokens", "Tokens of answers.", (), self._generated)
        yield _counter(
            "draft_tokens_offered",
            "Tokens of drafts that came with requests that were answered.",
            (),
            self._offered,
        )
        yield _counter(
            "draft_tokens_accepted",
            "Tokens of drafts that the large model would have chosen too.",
            (),
            self._accepted,
        )
        yield _counter(
            "tier_answers",
            "What each tier that a query came to said: its answer stood (answered), was not trusted"
            " (deferred), or did not come (failed).",
            ("tier", "outcome"),
            self._tiers_said.copy(),
        )
        yield _counter(
            "degraded_answers",
            "Answers of a lower tier because a higher one that was due did not answer.",
            (),
            self._degraded,
        )


def _counter(
    name: str, meaning: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], int] | int
) -> Metric:
    family = CounterMetricFamily(f"escalade_{name}", meaning, labels=labels)
    for values, count in ({(): counts} if isinstance(counts, int) else counts).items():
        family.add_metric(values, count)
    return family


def _histogram(
    name: str,
    meaning: str,
    labels: tuple[str, ...],
    spreads: Mapping[tuple[str, ...], Spread] | Spread,
) -> Metric:
    family = HistogramMetricFamily(f"escalade_{name}_seconds", meaning, labels=labels)
    for values, spread in ({(): spreads} if isinstance(spreads, Spread) else spreads).items():
        buckets, total_s = spread.buckets()
        family.add_metric(values, buckets, total_s)
    return family


def _outcome_of(said: Outcome) -> pb.DraftOutcome:
    """What became of a draft; empty where there was none."""
    if isinstance(said, pb.GenerateResponse):
        return said.draft_outcome
    return said.outcome if isinstance(said, pb.VerifyResponse) else pb.DraftOutcome()


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
