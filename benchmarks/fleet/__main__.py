"""How many queries a second a fleet runs at, beside SimPy and vllm-sr-sim on the same workload.

    sh benchmarks/fleet/peers_env.sh runs/fleet-peers
    .venv/bin/python -m benchmarks.fleet [--queries N] [--peers runs/fleet-peers] [--json]

Three workloads: a million devices of which 7 % of the queries go up (ours alone); a thousand of
them, each with a queue, before a cloud of 5 servers, also in SimPy; and 40 GPUs that get every
query, also in vllm-sr-sim, whose service times ours then has. A peer runs fewer queries of the same
workload, for it would take hours; percentiles stand beside each other. Ours runs end to end, from
its arrays to its counts, on all cores, the code compiled before; a peer's events alone are timed.
Peers have one thread. So rates stand beside each other twice: by seconds on the wall, where ours
has all cores and other work on the machine counts, and by seconds of CPU, which that changes
little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from escalade.cli.output import result_console
from escalade.simulator.fleet.building import build
from escalade.simulator.fleet.description.spec import Answers, CloudTable, Group, Poisson, Spec
from escalade.simulator.fleet.engine import Model, quantile, simulate

#: Of a device, and of what its queries take; a network of 50 ms each way.
PER_S, DEVICE_S, CLOUD_S, DEFERRAL_RATE, PROFILE, ONE_WAY_S = (
    1.0,
    0.3,
    0.05,
    0.07,
    "coe-100ms",
    0.05,
)
SMALL, LARGE = 1000, 1_000_000
#: Servers: the small fleet's queries keep 3.5 at work.
SMALL_REPLICAS, LARGE_REPLICAS = 5, 4000
GPUS, SLOTS, TOKENS, GPU_PER_S = 40, 16, (64, 128, 256), 5700.0
SEED = 1


@dataclass(kw_only=True)
class Row:
    """One engine on one workload."""

    workload: str
    engine: str
    queries: int
    took_s: float
    cpu_s: float
    per_s: float
    per_cpu_s: float
    mean: float
    p50: float
    p90: float
    p99: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=float, default=1e8, help="of ours")
    parser.add_argument("--peer-queries", type=float, default=2e5)
    parser.add_argument("--peers", type=Path, help="environment of peers_env.sh")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--large", action="store_true", help="the million devices alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    few = int(options.peer_queries)
    small = fleet(SMALL, options.queries / SMALL / PER_S, SMALL_REPLICAS)
    time_of(small._replace(seconds=1.0), "", 1)  # compiles
    large = fleet(LARGE, options.queries / LARGE / PER_S, LARGE_REPLICAS)
    rows = [time_of(large, "million devices", options.threads)]
    if not options.large:
        rows.append(time_of(small, "1,000 devices", options.threads))
    if options.peers and not options.large:
        rows.append(in_simpy(options.peers, few))
        row, served_s = in_vllm_sr_sim(options.peers, few)
        rows += [time_of(gpus(served_s, options.queries), row.workload, options.threads), row]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "peak_mib": peak}))
        return
    show(rows)
    load = os.getloadavg()[0]
    result_console().print(
        f"ours on {options.threads} threads, peers on one, of {os.cpu_count()} cores; load"
        f" {load:.1f}; at most {peak:.0f} MiB"
    )


def fleet(devices: int, seconds: float, replicas: int) -> Model:
    """So many devices before a cloud of so many servers."""
    spec = Spec(
        seconds=seconds,
        groups=[
            Group(
                name="phones",
                count=devices,
                arrivals=Poisson(per_hour=3600 * PER_S),
                profile=PROFILE,
                answers=Answers(device_s=DEVICE_S, cloud_s=CLOUD_S, deferral_rate=DEFERRAL_RATE),
            )
        ],
        cloud=CloudTable(replicas=replicas),
    )
    return build(spec, Path(), seed=SEED).model


def gpus(served_s: list[float], queries: float) -> Model:
    """GPUs that get every query, each of which takes what one took in the peer."""
    many = len(served_s)
    devices = 1000
    model = fleet(devices, queries / GPU_PER_S, GPUS)
    return model._replace(
        piece_rate=np.array([GPU_PER_S / devices]),
        first_record=np.array([0, many]),
        device_s=np.zeros(many),
        defers=np.ones(many, dtype=np.bool_),
        cloud_s=np.array(served_s),
        up_s=np.zeros((many, 1)),
        down_s=np.zeros((many, 1)),
        slots=SLOTS,
    )


def time_of(model: Model, workload: str, threads: int) -> Row:
    """Run ours."""
    started, cpu_started = time.perf_counter(), time.process_time()
    outcome = simulate(model, windows=24, threads=threads)
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    counts = outcome.tally.histogram.sum(axis=(0, 1))
    queries = int(counts.sum())
    p50, p90, p99 = (quantile(counts, share) for share in (0.5, 0.9, 0.99))
    return Row(
        workload=workload,
        engine="escalade",
        queries=queries,
        took_s=took_s,
        cpu_s=cpu_s,
        per_s=queries / took_s,
        per_cpu_s=queries / cpu_s,
        mean=float(outcome.tally.sums.sum()) / max(1, queries),
        p50=p50,
        p90=p90,
        p99=p99,
    )


def in_simpy(environment: Path, queries: int) -> Row:
    """Run SimPy on the small fleet."""
    told = {
        "devices": SMALL,
        "per_s": PER_S,
        "seconds": queries / SMALL / PER_S,
        "device_s": DEVICE_S,
        "cloud_s": CLOUD_S,
        "deferral_rate": DEFERRAL_RATE,
        "one_way_s": ONE_WAY_S,
        "replicas": SMALL_REPLICAS,
    }
    return row_of("1,000 devices", "simpy", ask(environment, "simpy", told))


def in_vllm_sr_sim(environment: Path, queries: int) -> tuple[Row, list[float]]:
    """Run vllm-sr-sim; and what it took for each request once it had a slot."""
    told = {
        "gpus": GPUS,
        "slots": SLOTS,
        "tokens": TOKENS,
        "per_s": GPU_PER_S,
        "requests": queries,
    }
    found = ask(environment, "vllm-sr-sim", told)
    return row_of(f"{GPUS} GPUs", "vllm-sr-sim", found), found["served_s"]


def ask(environment: Path, peer: str, told: dict[str, Any]) -> dict[str, Any]:
    """What a peer says of a workload."""
    ran = subprocess.run(
        [environment / "bin" / "python", Path(__file__).with_name("peers.py")],
        input=json.dumps({"peer": peer, "seed": SEED, **told}),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def row_of(workload: str, engine: str, found: dict[str, Any]) -> Row:
    """A peer's row."""
    return Row(
        workload=workload,
        engine=engine,
        queries=found["queries"],
        took_s=found["took_s"],
        cpu_s=found["cpu_s"],
        per_s=found["queries"] / found["took_s"],
        per_cpu_s=found["queries"] / found["cpu_s"],
        mean=found["mean"],
        p50=found["p50"],
        p90=found["p90"],
        p99=found["p99"],
    )


def show(rows: list[Row]) -> None:
    """A row for each engine, and how many times its rate ours is, on the wall and of the CPU."""
    rates, percentiles = Table("workload", "engine"), Table("workload", "engine")
    for name in ("queries", "s", "queries/s", "times", "CPU s", "queries/CPU s", "times"):
        rates.add_column(name, justify="right")
    for name in ("mean", "p50", "p90", "p99"):
        percentiles.add_column(name, justify="right")
    for row in rows:
        ours = next(one for one in rows if one.workload == row.workload)
        rates.add_row(
            row.workload,
            row.engine,
            f"{row.queries:,}",
            f"{row.took_s:.2f}",
            f"{row.per_s:,.0f}",
            f"{ours.per_s / row.per_s:,.0f}",
            f"{row.cpu_s:.2f}",
            f"{row.per_cpu_s:,.0f}",
            f"{ours.per_cpu_s / row.per_cpu_s:,.0f}",
        )
        percentiles.add_row(
            row.workload,
            row.engine,
            *(f"{1e3 * value:.1f} ms" for value in (row.mean, row.p50, row.p90, row.p99)),
        )
    for table in (rates, percentiles):
        result_console().print(table, soft_wrap=False)


if __name__ == "__main__":
    main()
