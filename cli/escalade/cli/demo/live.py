"""Measures cascades live over one network: real processes, sockets and waits; makes no model."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from escalade.cli.demo.processes import running, started
from escalade.edge import EdgeClient, OpenOptions, Query
from escalade.edge.base import Record, atomic_write
from escalade.edge.trace import Place
from escalade.simulator.network import ControlClient

#: Between the device and a gateway in the same building.
NEAR = "lan"

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
    #: Folder for cascade files.
    out: Path
    #: Called after each step, of `Live.steps`.
    tick: Callable[[], None]

    @staticmethod
    def steps(records: int) -> int:
        """How many `measure` takes of so many records: three systems start, connect and ask."""
        return 3 * (2 + records)

    def measure(
        self, profile: str, records: Sequence[Record], deadline_s: float, *, side_by_side: bool
    ) -> list[LiveRow]:
        """Ask every record of the cloud alone, through two tiers and through three.

        Args:
            profile: name of the network between the cloud and whoever asks it.
            records: with references.
            deadline_s: for one query.
            side_by_side: whether the three ask at the same time, each over a network of its own;
                for networks whose waits dwarf what they cost this machine.
        """
        with ExitStack() as stack:
            systems: list[_System] = []
            for open_system in (self._alone, self._two, self._three):
                systems.append(open_system(stack, profile, deadline_s))
                self.tick()
            workers = len(systems) if side_by_side else 1
            self._open(systems, records[0], workers)
            measured = self._asked(systems, records, workers)
        return [
            _row(profile, system.name, one, measured[0])
            for system, one in zip(systems, measured, strict=True)
        ]

    def _open(self, systems: Sequence[_System], record: Record, workers: int) -> None:
        """Open the connections, which every later query finds open."""

        def opened(system: _System) -> None:
            system.client.trace_header()
            system.client.ask_last(_query(record))
            self.tick()

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(opened, systems))

    def _asked(
        self, systems: Sequence[_System], records: Sequence[Record], workers: int
    ) -> list[_Measured]:
        ended = threading.Event()

        def asked(system: _System) -> _Measured:
            before, answers = _bytes(system.network), []
            for record in records:
                if ended.is_set():
                    break
                answers.append(system.ask(_query(record)))
                self.tick()
            return _Measured(answers, _bytes(system.network) - before)

        with ThreadPoolExecutor(workers) as pool:
            try:
                return list(pool.map(asked, systems))
            finally:
                ended.set()  # Ctrl-C waits for a query, not for all of them

    def _alone(self, stack: ExitStack, profile: str, deadline_s: float) -> _System:
        address, network = self._network(stack, profile)
        options = OpenOptions(deadline_s=deadline_s)
        client = stack.enter_context(EdgeClient.open(self.device, options, cloud=address))

        def ask(query: Query) -> _Answered:
            said = client.ask_last(query)
            return _Answered(bool(said.correct), "cloud", said.seconds, degraded=False)

        return _System(CLOUD_ONLY, client, network, ask)

    def _two(self, stack: ExitStack, profile: str, deadline_s: float) -> _System:
        address, network = self._network(stack, profile)
        options = OpenOptions(deadline_s=deadline_s)
        client = stack.enter_context(EdgeClient.open(self.device, options, cloud=address))
        return _System(TWO_TIERS, client, network, _through(client))

    def _three(self, stack: ExitStack, profile: str, deadline_s: float) -> _System:
        address, network = self._network(stack, profile)
        above = self._write(
            "gateway.toml", self.gateway, address, place="cloud", deadline_s=deadline_s
        )
        gateway = stack.enter_context(
            running("the gateway", "gateway", str(above), "--listen", "127.0.0.1:0")
        )
        near = stack.enter_context(
            running("proxy to it", "proxy", "--profile", NEAR, "--upstream", gateway)
        )
        below = self._write(
            "device.toml", self.device, near, place="gateway", deadline_s=deadline_s
        )
        client = stack.enter_context(EdgeClient.open(below))
        return _System(THREE_TIERS, client, network, _through(client))

    def _network(self, stack: ExitStack, profile: str) -> tuple[str, ControlClient]:
        """Address of the cloud beyond a network that one system has to itself, and its control."""
        process = stack.enter_context(
            started(
                f"proxy {profile}",
                *("proxy", "--profile", profile, "--upstream", self.server, "--control", ":0"),
            )
        )
        return process.address, ControlClient(process.control)

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
class _System:
    name: str
    client: EdgeClient
    #: To the cloud.
    network: ControlClient
    ask: Callable[[Query], _Answered]


@dataclass(frozen=True)
class _Answered:
    right: bool
    place: str
    seconds: float
    degraded: bool


@dataclass(frozen=True)
class _Measured:
    answers: list[_Answered]
    cloud_bytes: int


def _through(client: EdgeClient) -> Callable[[Query], _Answered]:
    def ask(query: Query) -> _Answered:
        answer = client.ask(query)
        return _Answered(
            bool(answer.said.correct),
            answer.given_at,
            answer.total_s,
            degraded=answer.outcome == "degraded",
        )

    return ask


def _query(record: Record) -> Query:
    return Query(text=record.prompt, references=tuple(record.references))


def _row(profile: str, system: str, measured: _Measured, alone: _Measured) -> LiveRow:
    answers = measured.answers
    p50_s, p95_s = np.quantile([one.seconds for one in answers], [0.5, 0.95])
    places = Counter(one.place for one in answers)
    shares = {place: count / len(answers) for place, count in places.items()}
    return LiveRow(
        profile=profile,
        system=system,
        queries=len(answers),
        accuracy=sum(one.right for one in answers) / len(answers),
        answered_by=shares,
        degraded=sum(one.degraded for one in answers),
        calls_saved=1 - shares.get("cloud", 0.0),
        bytes_saved=1 - measured.cloud_bytes / alone.cloud_bytes,
        cloud_bytes=measured.cloud_bytes,
        p50_s=float(p50_s),
        p95_s=float(p95_s),
    )


def _bytes(network: ControlClient) -> int:
    """Bytes both ways so far."""
    state = network.state()
    return state.bytes_up + state.bytes_down
