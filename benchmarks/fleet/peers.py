"""The same workloads in SimPy and in vllm-sr-sim; runs in the environment of `peers_env.sh`.

Knows nothing of ours. Reads a workload as JSON on stdin, prints what came of it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any


def main() -> None:
    """Run what stdin asks for."""
    told = json.load(sys.stdin)
    peer = {"simpy": run_simpy, "vllm-sr-sim": run_vllm_sr_sim}[told.pop("peer")]
    print(json.dumps(peer(**told)))


def run_simpy(
    *,
    devices: int,
    per_s: float,
    seconds: float,
    device_s: float,
    cloud_s: float,
    deferral_rate: float,
    one_way_s: float,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """Devices that each have a queue before one cloud of so many servers, as SimPy is meant."""
    import simpy

    rng = random.Random(seed)  # noqa: S311 - no secret
    env = simpy.Environment()
    cloud = simpy.Resource(env, capacity=replicas)
    taken: list[float] = []

    def query(own: simpy.Resource) -> Iterator[object]:
        came_s = env.now
        with own.request() as turn:
            yield turn
            yield env.timeout(rng.expovariate(1 / device_s))
        if rng.random() < deferral_rate:
            yield env.timeout(one_way_s)
            with cloud.request() as turn:
                yield turn
                yield env.timeout(rng.expovariate(1 / cloud_s))
            yield env.timeout(one_way_s)
        taken.append(env.now - came_s)

    def device() -> Iterator[object]:
        own = simpy.Resource(env, capacity=1)
        while True:
            yield env.timeout(rng.expovariate(per_s))
            if env.now >= seconds:
                return
            env.process(query(own))

    started = times()
    for _ in range(devices):
        env.process(device())
    env.run()
    return found(taken, started)


def run_vllm_sr_sim(
    *, gpus: int, slots: int, tokens: list[int], per_s: float, requests: int, seed: int
) -> dict[str, Any]:
    """GPUs that requests go to by their load; what it took for a request by itself is told too."""
    from fleet_sim.core.fleet import Fleet, FleetConfig, PoolConfig
    from fleet_sim.core.request import Request
    from fleet_sim.gpu_profiles.manual import ManualProfile

    rng = random.Random(seed)  # noqa: S311 - no secret
    gpu = ManualProfile(
        name="gpu",
        W=0.008,
        H=0.0002,
        chunk=512,
        blk_size=16,
        total_kv_blks=1 << 20,
        max_slots=slots,
        cost_per_hr=2.0,
        calibration_ctx=8192,
    )
    pool = PoolConfig("all", gpu, gpus, max_ctx=8192, lb_strategy="least_loaded")
    at_s, arrivals = 0.0, []
    for number in range(requests):
        at_s += rng.expovariate(per_s)
        arrivals.append((at_s, Request(number, at_s, 512, rng.choice(tokens))))
    fleet = Fleet(FleetConfig([pool], "LeastLoadedRouter"))
    started = times()
    done = fleet.run(arrivals).completed
    result = found([one.end_time - one.arrival_time for one in done], started)
    result["served_s"] = [one.end_time - one.start_time for one in done]
    return result


def times() -> tuple[float, float]:
    """Seconds on the wall and of the CPU."""
    return time.perf_counter(), time.process_time()


def found(taken: list[float], started: tuple[float, float]) -> dict[str, Any]:
    """Requests, percentiles and how long it took since then."""
    took_s, cpu_s = (now - then for now, then in zip(times(), started, strict=True))
    taken.sort()
    return {
        "queries": len(taken),
        "took_s": took_s,
        "cpu_s": cpu_s,
        "mean": sum(taken) / len(taken),
        **{f"p{100 * at:g}": taken[int(at * (len(taken) - 1))] for at in (0.5, 0.9, 0.99)},
    }


if __name__ == "__main__":
    main()
