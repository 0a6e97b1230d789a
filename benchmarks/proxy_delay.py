"""How far the live proxy's delay is from the one asked for, on this machine, now.

    .venv/bin/python benchmarks/proxy_delay.py [--json]

A unary gRPC call with 3 KB each way is timed three ways in turn, each after the same idle
gap (caches cool while a machine waits, so a control that never idles would flatter it):
direct, through a proxy without delay (the baseline), and through the profile. Client,
server and proxies are processes of their own. The residual is what remains of the median
when asked delay and baseline are taken off. Takes about a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

import grpc
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from escalade.cli.output import result_console
from escalade.simulator.network import get_profile, run_proxy

#: Profiles and calls: as many as fit about 15 s.
CALLS = {"coe-1us": 500, "coe-10ms": 250, "coe-100ms": 30, "coe-1s": 4}
WARM_UP_CALLS = 20
PAYLOAD = bytes(3000)
METHOD = "/escalade.benchmark/Echo"
#: Largest share of asked delay and baseline that the residual may have, from 10 ms on.
TARGET_PERCENT = 5.0
TARGET_FROM_MS = 10.0

Samples = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Row:
    """One profile; milliseconds. Intervals are 95 %, by bootstrap of the medians."""

    profile: str
    calls: int
    asked_ms: float
    direct_p50_ms: float
    baseline_p50_ms: float
    baseline_iqr_ms: float
    live_p50_ms: float
    live_p99_ms: float
    achieved_ms: float
    residual_ms: float
    residual_interval_ms: tuple[float, float]
    residual_percent: float
    #: Whether the delay is at least 3 times the baseline's interquartile range.
    resolvable: bool

    @property
    def verdict(self) -> str:
        """Whether the target is met, where it applies."""
        if not self.resolvable:
            return "not resolvable"
        if self.asked_ms < TARGET_FROM_MS:
            return "no target"
        return "met" if abs(self.residual_percent) <= TARGET_PERCENT else "missed"


def serve(ready: Connection) -> None:
    """The server's process: echoes bytes until it is terminated."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    service, method = METHOD.strip("/").split("/")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {method: handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ready.send(port)
    signal.sigwait([signal.SIGTERM])
    server.stop(None).wait()


def proxy(ready: Connection, profile: str, upstream: int) -> None:
    """A proxy's process."""
    run_proxy(
        get_profile(profile),
        ":0",
        f":{upstream}",
        seed=0,
        on_ready=lambda _, port: ready.send(port),
    )


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    """Run `target` in a process of its own; give the port that it sends."""
    spawn = multiprocessing.get_context("spawn")
    ready, theirs = spawn.Pipe(duplex=False)
    child = spawn.Process(target=target, args=(theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        yield ready.recv()
    finally:
        child.terminate()
        child.join()


def measure(name: str, calls: int) -> Row:
    """Time direct, baseline and live calls in turn."""
    gap_s = get_profile(name).rtt_ms / 1e3
    with ExitStack() as stack:
        server = stack.enter_context(process(serve))
        ports = [server, *(stack.enter_context(process(proxy, n, server)) for n in ("free", name))]
        stubs = []
        for port in ports:
            channel = grpc.insecure_channel(f"127.0.0.1:{port}")
            stubs.append(stack.enter_context(channel).unary_unary(METHOD))
        for stub in stubs:
            for _ in range(min(WARM_UP_CALLS, calls)):
                stub(PAYLOAD)
        times_ms = np.empty((calls, len(stubs)))
        for call in range(calls):
            for column, stub in enumerate(stubs):
                time.sleep(gap_s)
                started_s = time.perf_counter()
                stub(PAYLOAD)
                times_ms[call, column] = (time.perf_counter() - started_s) * 1e3
    return summarize(name, times_ms)


def summarize(name: str, times_ms: Samples) -> Row:
    """Reduce (calls, 3) milliseconds: direct, baseline, live."""
    asked_ms = get_profile(name).rtt_ms
    direct, baseline, live = np.median(times_ms, axis=0)
    p25, p75 = np.percentile(times_ms[:, 1], [25, 75])
    rng = np.random.default_rng(0)
    calls = len(times_ms)
    # (2000, calls, 3): whole rounds are drawn, as the three calls of one share their moment.
    medians = np.median(times_ms[rng.integers(0, calls, (2000, calls))], axis=1)
    low, high = np.percentile(medians[:, 2] - medians[:, 1] - asked_ms, [2.5, 97.5])
    residual = live - baseline - asked_ms
    return Row(
        profile=name,
        calls=calls,
        asked_ms=asked_ms,
        direct_p50_ms=float(direct),
        baseline_p50_ms=float(baseline),
        baseline_iqr_ms=float(p75 - p25),
        live_p50_ms=float(live),
        live_p99_ms=float(np.percentile(times_ms[:, 2], 99)),
        achieved_ms=float(live - baseline),
        residual_ms=float(residual),
        residual_interval_ms=(float(low), float(high)),
        residual_percent=float(100 * residual / (asked_ms + baseline)),
        resolvable=bool(asked_ms >= 3 * (p75 - p25)),
    )


def machine() -> dict[str, str | int | float | None]:
    """What the figures depend on."""
    return {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "clock": time.get_clock_info("perf_counter").implementation,
    }


def table(rows: list[Row], about: str) -> Table:
    """The rows for a reader; milliseconds."""
    out = Table(title="Live proxy: asked and achieved delay (ms)", caption=about)
    heads = "profile calls asked direct baseline live-p50 live-p99 achieved residual 95% share"
    for head in heads.split():
        out.add_column(head, justify="left" if head == "profile" else "right")
    out.add_column(f"within {TARGET_PERCENT:g} %")
    for row in rows:
        low, high = row.residual_interval_ms
        out.add_row(
            row.profile,
            str(row.calls),
            f"{row.asked_ms:g}",
            *(f"{ms:.2f}" for ms in (row.direct_p50_ms, row.baseline_p50_ms)),
            *(f"{ms:.2f}" for ms in (row.live_p50_ms, row.live_p99_ms, row.achieved_ms)),
            f"{row.residual_ms:+.2f}",
            f"{low:+.2f} to {high:+.2f}",
            f"{row.residual_percent:+.1f} %",
            row.verdict,
        )
    return out


def main() -> None:
    """Measure all four delays of the ensembles paper and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    as_json = parser.parse_args().json
    rows = [measure(name, calls) for name, calls in CALLS.items()]
    about = machine()
    if as_json:
        values = [{**dataclasses.asdict(row), "verdict": row.verdict} for row in rows]
        print(json.dumps({**about, "rows": values}, indent=2))
    else:
        result_console().print(
            table(rows, ", ".join(f"{key} {value}" for key, value in about.items())),
            soft_wrap=False,
        )


if __name__ == "__main__":
    main()
