"""Measures the cascade live over one network: real sockets, real waits; writes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from escalade.cli.demo.processes import running
from escalade.edge import Answer, EdgeClient
from escalade.edge.base import Record
from escalade.edge.trace import LargeAnswer

# The proxy writes its counters at most every 0.2 s.
_STATS_SETTLE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class LiveRow:
    """The same queries over one network: through the cascade, and of the cloud alone."""

    profile: str
    queries: int
    edge_accuracy: float
    cloud_accuracy: float
    cascade_accuracy: float
    deferral_rate: float
    degraded: int
    calls_saved: float
    #: On the wire, as the proxy counted them: gRPC and HTTP/2 framing in, TCP and IP out.
    bytes_saved: float
    cascade_bytes: int
    cloud_only_bytes: int
    cascade_p50_s: float
    cascade_p95_s: float
    cloud_only_p50_s: float
    cloud_only_p95_s: float

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def measure(
    artifact: Path,
    server: str,
    profile: str,
    records: Sequence[Record],
    stats: Path,
    *,
    deadline_s: float,
    tick: Callable[[], None],
) -> LiveRow:
    """Ask every record through the cascade, then of the cloud alone, over a profile's network.

    Args:
        artifact: calibrated.
        server: address of the cloud; the proxy goes in front of it.
        profile: name of the network.
        records: with references.
        stats: where the proxy keeps its counters.
        deadline_s: for one query.
        tick: called after each answer.
    """
    proxy = ("proxy", "--profile", profile, "--upstream", server, "--stats", str(stats))
    with (
        running(f"proxy {profile}", *proxy) as address,
        EdgeClient.open(artifact, cloud=address, deadline_s=deadline_s) as client,
    ):
        client.trace_header()  # opens the connection, which every later query finds open
        client.ask_large(records[0].prompt)
        before = _bytes(stats)
        answers: list[Answer] = []
        for record in records:
            answers.append(client.ask(record.prompt, references=record.references))
            tick()
        between = _bytes(stats)
        large: list[LargeAnswer] = []
        for record in records:
            large.append(client.ask_large(record.prompt, references=record.references))
            tick()
        after = _bytes(stats)
    return _row(profile, answers, large, between - before, after - between)


def _row(
    profile: str,
    answers: Sequence[Answer],
    large: Sequence[LargeAnswer],
    cascade_bytes: int,
    cloud_only_bytes: int,
) -> LiveRow:
    cascade_p50_s, cascade_p95_s = np.quantile([answer.total_s for answer in answers], [0.5, 0.95])
    cloud_p50_s, cloud_p95_s = np.quantile([answer.round_trip_s for answer in large], [0.5, 0.95])
    used = [answer.large if answer.outcome == "deferred" else answer.small for answer in answers]
    calls = sum(answer.would_defer for answer in answers)
    return LiveRow(
        profile=profile,
        queries=len(answers),
        edge_accuracy=float(np.mean([bool(answer.small.correct) for answer in answers])),
        cloud_accuracy=float(np.mean([bool(answer.correct) for answer in large])),
        cascade_accuracy=float(np.mean([bool(one and one.correct) for one in used])),
        deferral_rate=calls / len(answers),
        degraded=sum(answer.outcome == "degraded" for answer in answers),
        calls_saved=1 - calls / len(large),
        bytes_saved=1 - cascade_bytes / cloud_only_bytes,
        cascade_bytes=cascade_bytes,
        cloud_only_bytes=cloud_only_bytes,
        cascade_p50_s=float(cascade_p50_s),
        cascade_p95_s=float(cascade_p95_s),
        cloud_only_p50_s=float(cloud_p50_s),
        cloud_only_p95_s=float(cloud_p95_s),
    )


def _bytes(stats: Path) -> int:
    """Bytes both ways so far, once the proxy has had time to write them down."""
    time.sleep(_STATS_SETTLE_S)
    counters = json.loads(stats.read_text())
    return int(counters["bytes_up"]) + int(counters["bytes_down"])
