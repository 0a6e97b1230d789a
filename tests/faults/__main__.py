"""Runs it: the processes, the clients, the faults, and what the history says."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from authority import Authority

from escalade.edge import Artifact
from escalade.edge.base import read_records
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb
from faults.clients import Requests, ask_all, device, stream, thin
from faults.history import Event, Oracle, Said, recovery_s, violations
from faults.processes import Process
from faults.relay import Relay
from faults.schedule import Happened, House, JumpingClock, disturb

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "training" / "checkpoints"
DEVICES, PROMPTS = 4, 40
_DEADLINE_S = 4.0


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m faults")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        history, happened, oracle = run(Path(folder), options.requests, options.seed, stack)
    wrong = violations(history, oracle, options.requests)
    report(history, happened, wrong, as_json=options.json)
    raise SystemExit(1 if wrong else 0)


def run(
    folder: Path, requests: int, seed: int, stack: ExitStack
) -> tuple[list[Event], list[Happened], Oracle]:
    """Ask so many requests while things fail."""
    prompts = _prompts(folder)
    for name in ("small-cat-xent", "small-base"):
        _escalade("export", CHECKPOINTS / name, folder / name, "--quantize", "int8")
    authority = Authority(folder)
    cert, another = authority.ca, Authority(folder, "another").ca
    shown = authority.issue("server")
    tls = ("--tls-cert", str(shown.cert), "--tls-key", str(shown.key))

    def started(*arguments: str) -> Process:
        process = Process(*arguments, *tls)
        stack.callback(process.close)
        return process

    def relayed(process: Process) -> Relay:
        relay = Relay(process.port)
        stack.callback(relay.close)
        return relay

    server = started("serve", str(CHECKPOINTS / "large"), "--deterministic", "--grace-s", "5")
    behind, beside = relayed(server), relayed(server)
    _write_cascade(folder / "gateway.toml", "small-base", behind.address, cert)
    gateway = started("gateway", str(folder / "gateway.toml"), "--grace-s", "5")
    before = relayed(gateway)
    _write_cascade(folder / "cascade.toml", "small-cat-xent", before.address, cert)
    oracle = _ask_oracle(folder, prompts, server.address, cert)

    clock = JumpingClock()
    house = House(server, gateway, (before, behind, beside), clock)
    asking = {f"device {k}": device(folder / "cascade.toml") for k in range(DEVICES)} | {
        "device that sleeps": thin(before.address, cert, clock),
        "wrong certificates": thin(before.address, another),
        "stream": stream(beside.address, cert),
        "slow reader": stream(beside.address, cert, slow=True),
    }
    numbers, over = Requests(requests, prompts, seed), threading.Event()
    with ThreadPoolExecutor(len(asking) + 1) as pool:
        faults = pool.submit(disturb, house, seed, over)
        # Who is refused at once, and by its own breaker, would ask all that there is to ask.
        most = {"wrong certificates": max(1, requests // 20)}
        running = [
            pool.submit(ask_all, name, numbers, ask, most.get(name, requests))
            for name, ask in asking.items()
        ]
        try:
            history = [event for one in running for event in one.result()]
        finally:
            over.set()
    return history, faults.result(), oracle


def _prompts(folder: Path) -> list[str]:
    _escalade("tasks", folder / "data")
    records = read_records(folder / "data" / "valid.jsonl")
    step = len(records) // PROMPTS
    return [record.prompt for record in records[::step][:PROMPTS]]


def _escalade(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "escalade.cli", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _write_cascade(path: Path, artifact: str, above: str, cert: Path) -> None:
    path.write_text(
        f'[[tiers]]\nmembers = ["{artifact}"]\ngate = {{ rule = "mean", threshold = -1.0 }}\n'
        f'[[tiers]]\naddress = "{above}"\nca_cert = "{cert}"\ndeadline_s = {_DEADLINE_S}\n'
    )


def _ask_oracle(folder: Path, prompts: Sequence[str], address: str, cert: Path) -> Oracle:
    client = CloudClient(address, deadline_s=60, ca_cert=cert)
    large = {}
    for prompt in prompts:
        answer = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text=prompt)))
        assert answer is not None
        large[prompt] = Said(tuple(answer.response.token_ids), answer.response.text)
    client.close()
    artifacts = [Artifact.open(folder / name) for name in ("small-cat-xent", "small-base")]
    small = {
        prompt: frozenset(_alone(artifact, prompt) for artifact in artifacts) for prompt in prompts
    }
    return Oracle(large=large, small=small)


def _alone(artifact: Artifact, prompt: str) -> str:
    generation = artifact.stream(artifact.encode(prompt))
    for _ in generation:
        pass
    return generation.text


def report(
    history: Sequence[Event], happened: Sequence[Happened], wrong: Sequence[str], *, as_json: bool
) -> None:
    """Say how requests ended, what went wrong, and how soon after it answers came again."""
    ends = Counter(event.outcome for event in history)
    recovery = sorted(recovery_s(history, [fault.healed_s for fault in happened]))
    took_s = [event.ended_s - event.began_s for event in history]
    found = {
        "requests": len(history),
        "outcomes": dict(ends),
        "by client": {
            name: dict(Counter(one.outcome for one in history if one.client == name))
            for name in sorted({event.client for event in history})
        },
        "faults": dict(Counter(fault.name for fault in happened)),
        "recovery s": {
            "p50": round(statistics.median(recovery), 2),
            "p99": round(recovery[int(0.99 * (len(recovery) - 1))], 2),
            "most": round(recovery[-1], 2),
        }
        if recovery
        else {},
        "longest request s": round(max(took_s), 2),
        "violations": list(wrong),
        "load average": round(os.getloadavg()[0], 1),
    }
    if as_json:
        print(json.dumps(found, indent=2))  # noqa: T201
        return
    for name, value in found.items():
        print(f"{name}: {value}")  # noqa: T201


if __name__ == "__main__":
    main()
