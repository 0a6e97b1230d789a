"""Tokens a second of one client and of 16 together, with SmolLM2-135M on this machine.

    .venv/bin/python -m benchmarks.cloud.batching [--vllm URL] [--transformers-serve URL] [--json]

`escalade serve` is started in its batched mode; others are servers that run already, with the same
folder, and speak OpenAI's protocol:

    ENV/bin/python -m vllm.entrypoints.openai.api_server --model runs/smollm2 --dtype float32
    ENV/bin/transformers serve --continuous-batching --dtype float32 --port 8001 runs/smollm2

Rounds are paired: in each, every server is asked by one client and then by all, another server
first each time, in the same prompts, for answers of the same length at most. Ratios are medians
over the rounds. Every process computes with the cores of this machine, one server at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx2
from benchmarks.cloud.smollm2 import PROMPTS, SMOLLM2, smollm2
from rich.table import Table

from escalade.cli.demo.processes import running
from escalade.cli.output import result_console
from escalade.simulator.load import Plan, Target
from escalade.simulator.load.caller import Said, connected
from escalade.simulator.load.driver import Ask, drive

OURS = "escalade serve"
DEADLINE_S = 600.0


@dataclass
class Row:
    """One server; tokens a second of each round."""

    server: str
    alone: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)

    @property
    def gain(self) -> float:
        """All clients beside one."""
        pairs = zip(self.together, self.alone, strict=True)
        return statistics.median(many / one for many, one in pairs)

    def beside(self, other: Row) -> float:
        """Our tokens a second with all clients beside another's."""
        pairs = zip(other.together, self.together, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


def completions(client: httpx2.AsyncClient, model: str, url: str, tokens: int) -> Ask:
    """Asks a server that speaks OpenAI's protocol."""

    async def ask(number: int, prompt: int, of: int, timeout_s: float) -> Said:
        asked = {
            "model": model,
            "prompt": PROMPTS[prompt],
            "max_tokens": tokens,
            "temperature": 0,
        }
        answer = await client.post(f"{url}/v1/completions", json=asked, timeout=timeout_s)
        answer.raise_for_status()
        return Said(tokens=int(answer.json()["usage"]["completion_tokens"]))

    return ask


async def tokens_per_s(ask: Ask, clients: int, requests: int, seed: int) -> float:
    """What so many clients get of so many answers."""
    plan = Plan(clients=clients, requests=requests, warm_up_s=0, deadline_s=DEADLINE_S, seed=seed)
    driven = await drive(plan, len(PROMPTS), ask, lambda done, total: None)
    if failed := [one.said for one in driven.asked if one.said.reason]:
        raise SystemExit(f"batching: {failed[0].reason}: {failed[0].detail}")
    tokens = sum(one.said.tokens for one in driven.asked)
    return tokens / (driven.to_s - driven.from_s)


async def measure(address: str, options: argparse.Namespace) -> list[Row]:
    """Ask all servers in turns."""
    async with AsyncExitStack() as stack:
        target = Target(address=address, prompts=PROMPTS, max_new_tokens=options.tokens)
        caller = await stack.enter_async_context(connected(target, options.clients))
        asks: dict[str, Ask] = {OURS: caller.ask}
        client = await stack.enter_async_context(httpx2.AsyncClient())
        for name in ("vllm", "transformers_serve"):
            if url := getattr(options, name):
                model = await _model_of(client, url, options.model)
                asks[name] = completions(client, model, url, options.tokens)
        rows = {name: Row(name) for name in asks}
        for ask in asks.values():
            await tokens_per_s(ask, 2, 2, seed=0)
        names = list(asks)
        for number in range(options.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                row, ask, seed = rows[name], asks[name], number + 1
                row.alone.append(await tokens_per_s(ask, 1, 3, seed))
                many = 2 * options.clients
                row.together.append(await tokens_per_s(ask, options.clients, many, seed))
    return list(rows.values())


async def _model_of(client: httpx2.AsyncClient, url: str, folder: Path) -> str:
    """What the server calls the model; one that loads on demand knows it by its folder."""
    answer = await client.get(f"{url}/v1/models", timeout=DEADLINE_S)
    names = [one["id"] for one in answer.json()["data"]] if answer.is_success else []
    return names[0] if names else str(folder.resolve())


def report(rows: Sequence[Row]) -> dict[str, object]:
    """The numbers."""
    ours = rows[0]
    return {
        "load_average": os.getloadavg()[0],
        "rows": [
            {
                **asdict(row),
                "median_alone": statistics.median(row.alone),
                "median_together": statistics.median(row.together),
                "gain": row.gain,
                "ours_beside": row.beside(ours),
            }
            for row in rows
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=SMOLLM2, help="made where it is not there")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48, help="longest answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--vllm", metavar="URL")
    parser.add_argument("--transformers-serve", metavar="URL")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = smollm2(options.model)
    with ExitStack() as stack:
        listen = ("--listen", "127.0.0.1:0", "--threads", str(options.threads))
        address = stack.enter_context(running("cloud", "serve", str(folder), *listen))
        rows = asyncio.run(measure(address, options))
    if options.json:
        print(json.dumps(report(rows), indent=2))
        return
    table = Table("server", "1 client", f"{options.clients} clients", "gain", "ours beside it")
    for row in rows:
        table.add_row(
            row.server,
            f"{statistics.median(row.alone):.1f}",
            f"{statistics.median(row.together):.1f}",
            f"{row.gain:.2f}x",
            f"{row.beside(rows[0]):.2f}x",
        )
    result_console().print(table)
    result_console().print(f"tokens a second; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
