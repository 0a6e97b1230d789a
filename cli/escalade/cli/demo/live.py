"""Measures cascades live over one network: real processes, sockets and waits; makes no model."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from escalade.cli.demo.processes import running
from escalade.edge import Answer, EdgeClient, OpenOptions, Query
from escalade.edge.base import Record, atomic_write
from escalade.edge.trace import Place

# The proxy writes its counters at most every 0.2 s.
_STATS_SETTLE_S = 0.5
#: Between the device and a gateway in the same building.
_NEAR = "lan"

CLOUD_ONLY, TWO_TIERS, THREE_TIERS = "cloud only", "device, cloud", "device, gateway, cloud"


@dataclass(frozen=True, kw_only=True)
class LiveRow:
    """The same queries over one network through one system."""

    profile: str
    system: str
    queries: int
    accuracy: float
    #: Share of the queries that each place has answered.
    answered_by: dict[str, float]
    degraded: int
    #: Against asking the cloud for every query.
    calls_saved: float
    #: On the wire to the cloud, as the proxy counted them: gRPC and HTTP/2 framing in, TCP and IP
    #: out.
    bytes_saved: float
    cloud_bytes: int
    p50_s: float
    p95_s: float

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Live:
    """What is measured over every network."""

    #: Calibrated: on the device, and at the gateway.
    device: Path
    gateway: Path
    #: Address of the cloud.
    server: str
    #: Folder for counters and cascade files.
    out: Path
    tick: Callable[[], None]

    def measure(self, profile: str, records: Sequence[Record], deadline_s: float) -> list[LiveRow]:
        """Ask every record of the cloud alone, then through two tiers, then through three.

        Args:
            profile: name of the network between the cloud and whoever asks it.
            records: with references.
            deadline_s: for one query.
        """
        stats = self.out / f"{profile}.stats.json"
        proxy = ("proxy", "--profile", profile, "--upstream", self.server, "--stats", str(stats))
        with running(f"proxy {profile}", *proxy) as cloud:
            options = OpenOptions(deadline_s=deadline_s)
            with EdgeClient.open(self.device, options, cloud=cloud) as client:
                _warm(client, records[0])
                alone = self._cloud_alone(client, records, stats)
                two = self._through(client, records, stats)
            gateway = self._write(
                "gateway.toml", self.gateway, cloud, place="cloud", deadline_s=deadline_s
            )
            with (
                running("the gateway", "gateway", str(gateway), "--listen", "127.0.0.1:0") as at,
                running("proxy to it", "proxy", "--profile", _NEAR, "--upstream", at) as near,
            ):
                device = self._write(
                    "device.toml", self.device, near, place="gateway", deadline_s=deadline_s
                )
                with EdgeClient.open(device) as client:
                    _warm(client, records[0])
                    three = self._through(client, records, stats)
        return [
            _row(profile, name, measured, alone)
            for name, measured in ((CLOUD_ONLY, alone), (TWO_TIERS, two), (THREE_TIERS, three))
        ]

    def _cloud_alone(self, client: EdgeClient, records: Sequence[Record], stats: Path) -> _Measured:
        before, right, seconds = _bytes(stats), [], []
        for record in records:
            said = client.ask_last(_query(record))
            right.append(bool(said.correct))
            seconds.append(said.seconds)
            self.tick()
        return _Measured(right, ["cloud"] * len(right), seconds, 0, _bytes(stats) - before)

    def _through(self, client: EdgeClient, records: Sequence[Record], stats: Path) -> _Measured:
        before = _bytes(stats)
        answers: list[Answer] = []
        for record in records:
            answers.append(client.ask(_query(record)))
            self.tick()
        return _Measured(
            [bool(answer.said.correct) for answer in answers],
            [answer.given_at for answer in answers],
            [answer.total_s for answer in answers],
            sum(answer.outcome == "degraded" for answer in answers),
            _bytes(stats) - before,
        )

    def _write(
        self, name: str, artifact: Path, address: str, *, place: Place, deadline_s: float
    ) -> Path:
        """A cascade's file of one artifact and an address; it stays, for whoever wants to look."""
        path = self.out / name
        with atomic_write(path) as stream:
            stream.write(
                f"""[[tiers]]
members = [{json.dumps(str(artifact.resolve()))}]

[[tiers]]
address = {json.dumps(address)}
place = {json.dumps(place)}
deadline_s = {deadline_s}
""".encode()
            )
        return path


@dataclass(frozen=True)
class _Measured:
    right: list[bool]
    places: list[str]
    seconds: list[float]
    degraded: int
    cloud_bytes: int


def _query(record: Record) -> Query:
    return Query(text=record.prompt, references=tuple(record.references))


def _warm(client: EdgeClient, record: Record) -> None:
    """Open the connections, which every later query finds open."""
    client.trace_header()
    client.ask_last(_query(record))


def _row(profile: str, system: str, measured: _Measured, alone: _Measured) -> LiveRow:
    queries = len(measured.right)
    p50_s, p95_s = np.quantile(measured.seconds, [0.5, 0.95])
    shares = {place: count / queries for place, count in Counter(measured.places).items()}
    return LiveRow(
        profile=profile,
        system=system,
        queries=queries,
        accuracy=sum(measured.right) / queries,
        answered_by=shares,
        degraded=measured.degraded,
        calls_saved=1 - shares.get("cloud", 0.0),
        bytes_saved=1 - measured.cloud_bytes / alone.cloud_bytes,
        cloud_bytes=measured.cloud_bytes,
        p50_s=float(p50_s),
        p95_s=float(p95_s),
    )


def _bytes(stats: Path) -> int:
    """Bytes both ways so far, once the proxy has had time to write them down."""
    time.sleep(_STATS_SETTLE_S)
    counters = json.loads(stats.read_text())
    return int(counters["bytes_up"]) + int(counters["bytes_down"])
