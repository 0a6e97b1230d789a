"""What a server does with 1, 2 and 5 times what it can: goodput, its queue, its refusals.

    .venv/bin/python -m benchmarks.cloud.overload [--bundled] [--times 1 2 5] [--rounds N] [--json]

`escalade serve` in its batched mode, with SmolLM2-135M and answers of 8 to 24 tokens; with
`--bundled`, the large model of the bundled cascade, whose answers are so cheap that asking and
refusing cost as much as computing. In each round a closed loop of 64 clients finds the peak, and
then open loops ask so many times that, by Poisson; nobody asks again. Goodput is answers a second
within the deadline, beside the round's own peak. Like is measured beside like: a closed loop has a
full batch from its first moment, an open one when so many have come, so that both are measured
later; and answers of one length would end in waves, and the peak be a matter of how many waves are
in the time. The queue is bounded where the answers that were under way at one time are: those in
the batch and those that wait. Server and client share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import msgspec
from benchmarks.cloud.smollm2 import PROMPTS, SMOLLM2, smollm2
from rich.table import Table

from escalade.cli.demo.processes import running
from escalade.cli.output import result_console
from escalade.edge.base import subsample
from escalade.simulator.load import LoadReport, Plan, Target
from escalade.simulator.load.caller import Said, connected
from escalade.simulator.load.driver import Ask, Asked, drive
from escalade.simulator.load.report import report_of
from escalade.training.data import load_pronunciations, make_records
from escalade.v1 import cascade_pb2 as pb

LARGE = Path(__file__).parents[2] / "training" / "checkpoints" / "large"
CLIENTS, QUEUE = 64, 64
# Of answers, in turns.
TOKENS = 8, 13, 19, 24


@dataclass(kw_only=True)
class Row:
    """One load; medians over the rounds."""

    times: float
    rate: float
    goodput_per_s: float
    #: Beside the peak of the same round.
    share: float
    refused: float
    p99_s: float
    refusal_p50_ms: float
    refusal_p99_ms: float
    #: Requests that were answered and under way at one time, at most.
    most_at_once: int


async def once(ask: Ask, prompts: int, plan: Plan) -> tuple[LoadReport, int]:
    """One run, and the most that were under way at one time and answered."""
    driven = await drive(plan, prompts, ask)
    report = report_of(plan, driven, pb.GetModelInfoResponse(), address="", prompts=0)
    return report, at_once(one for one in driven.asked if not one.said.reason)


def at_once(asked: Iterable[Asked]) -> int:
    """The most requests that were under way at one time."""
    moments = sorted(moment for one in asked for moment in ((one.sent_s, 1), (one.ended_s, -1)))
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


async def measure(address: str, options: argparse.Namespace) -> tuple[list[float], list[Row]]:
    """Peak after peak, and what became of each load."""
    targets = _targets(address, bundled=options.bundled)
    prompts = len(targets[0].prompts)
    plan = partial(
        Plan, warm_up_s=options.warm_up_s, seconds=options.seconds, deadline_s=options.deadline_s
    )
    peaks: list[float] = []
    found: dict[float, list[tuple[LoadReport, int]]] = {times: [] for times in options.times}
    async with AsyncExitStack() as stack:
        callers = [
            await stack.enter_async_context(connected(one, CLIENTS // len(targets)))
            for one in targets
        ]

        async def ask(number: int, prompt: int, client: int, timeout_s: float) -> Said:
            kinds = len(callers)
            return await callers[number % kinds].ask(number, prompt, client // kinds, timeout_s)

        for number in range(options.rounds):
            report, _ = await once(ask, prompts, plan(clients=CLIENTS, seed=number))
            peaks.append(report.goodput_per_s)
            for times in options.times:
                asked = plan(rate=times * peaks[-1], seed=number)
                found[times].append(await once(ask, prompts, asked))
    return peaks, [row_of(times, peaks, runs) for times, runs in found.items()]


def _targets(address: str, *, bundled: bool) -> list[Target]:
    if not bundled:
        target = Target(address=address, prompts=PROMPTS)
        return [msgspec.structs.replace(target, max_new_tokens=tokens) for tokens in TOKENS]
    records = subsample([*make_records("test", load_pronunciations())], 2000)
    return [Target(address=address, prompts=[record.prompt for record in records])]


def row_of(times: float, peaks: list[float], runs: list[tuple[LoadReport, int]]) -> Row:
    """The medians of one load."""
    median = statistics.median
    reports = [report for report, _ in runs]
    refusals = [one.refusal for one in reports if one.refusal is not None]
    return Row(
        times=times,
        rate=median(one.requests_per_s for one in reports),
        goodput_per_s=median(one.goodput_per_s for one in reports),
        share=median(one.goodput_per_s / peak for one, peak in zip(reports, peaks, strict=True)),
        refused=median(
            sum(reason.count for reason in one.refused) / one.requests for one in reports
        ),
        p99_s=median(one.latency.p99 for one in reports if one.latency is not None),
        refusal_p50_ms=1e3 * median([one.p50 for one in refusals] or [0.0]),
        refusal_p99_ms=1e3 * median([one.p99 for one in refusals] or [0.0]),
        most_at_once=max(most for _, most in runs),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 2.0, 5.0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up-s", type=float, default=20.0, help="of each load, unmeasured")
    parser.add_argument("--seconds", type=float, default=40.0, help="measured, of each load")
    parser.add_argument("--deadline-s", type=float, default=30.0)
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--model", type=Path, default=SMOLLM2, help="made where it is not there")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    arguments = ("--listen", "127.0.0.1:0", "--queue", str(QUEUE), "--threads")
    model = str(LARGE if options.bundled else smollm2(options.model))
    threads = str(options.threads)
    with running("cloud", "serve", model, *arguments, threads) as address:
        peaks, rows = asyncio.run(measure(address, options))
    load = os.getloadavg()[0]
    if options.json:
        said = {"peaks_per_s": peaks, "load_average": load, "rows": [asdict(row) for row in rows]}
        print(json.dumps(said, indent=2))
        return
    table = Table("load", "goodput/s", "of peak", "refused", "p99", "refusal p50", "p99", "at once")
    for row in rows:
        table.add_row(
            f"{row.times:g}x, {row.rate:.1f}/s",
            f"{row.goodput_per_s:.1f}",
            f"{row.share:.2f}x",
            f"{row.refused:.0%}",
            f"{row.p99_s:.2f} s",
            f"{row.refusal_p50_ms:.1f} ms",
            f"{row.refusal_p99_ms:.1f} ms",
            str(row.most_at_once),
        )
    result_console().print(table)
    peak = statistics.median(peaks)
    result_console().print(f"peak {peak:.1f} answers/s; load average {load:.1f}")


if __name__ == "__main__":
    main()
