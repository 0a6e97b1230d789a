"""Asks all contestants in turn, round after round; knows no figure's meaning."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from benchmarks.device import llama_builds, machine, shape
from benchmarks.device.build import Peers, say
from benchmarks.device.contestants import Contestant
from benchmarks.device.wire import Mode, Timing
from benchmarks.device.workers import Worker

_WARM_UP_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run."""

    rounds: int
    threads: tuple[int, ...] = shape.THREADS
    prompts: tuple[int, ...] = shape.PROMPTS
    new_tokens: int = shape.NEW_TOKENS
    #: A response is timed again when others had more of its cores; the least disturbed counts.
    disturbance: float = 0.05
    retries: int = 3
    #: How long, all together, may be waited for idle cores.
    patience_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One response of one contestant."""

    name: str
    mode: Mode
    threads: int
    prompt: int
    round: int
    timing: Timing
    #: Of the time on this contestant's cores, what went to other processes.
    disturbed: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All of a run."""

    samples: list[Sample] = field(default_factory=list)
    #: Of each round, in bytes a second, by threads and prompt.
    bandwidth: dict[tuple[int, int], list[float]] = field(default_factory=dict)


def of_own_tool(build: Path, model: Path, plan: Plan) -> dict[int, dict[int, float]]:
    """What llama-bench itself says of a plan's decoding, tokens a second, by threads and prompt.

    Args:
        build: its folder.
        model: the GGUF file.
        plan: whose threads, prompts and new tokens count.

    Raises:
        BuildError: see `llama_builds.bench`.
    """
    say(f"asking llama-bench itself: {model.name}")
    return {
        threads: llama_builds.bench(
            build,
            model,
            threads=threads,
            new_tokens=plan.new_tokens,
            depths=plan.prompts,
            cores=",".join(map(str, machine.first_cores(threads))),
        )
        for threads in plan.threads
    }


def measure(peers: Peers, contestants: Sequence[Contestant], plan: Plan) -> Measured:
    """Run the plan. In each round all programs are loaded anew, and take turns.

    The same program loaded twice differs from itself by up to a tenth, by where its weights come to
    lie: rounds of one loading would agree with each other, and all be off alike.
    """
    measured = Measured()
    patience = machine.Patience(plan.patience_s)
    for threads in plan.threads:
        for number in range(plan.rounds):
            say(f"{threads} threads: round {number + 1} of {plan.rounds}")
            with ExitStack() as stack:
                entered = [
                    (
                        one,
                        stack.enter_context(
                            Worker(one.command, threads=threads, settings=one.settings)
                        ),
                    )
                    for one in contestants
                ]
                _run_round(peers, entered, (threads, number), plan, patience, measured)
    return measured


def prompt_ids(*seeds: int, length: int) -> list[int]:
    """Random ids, never one that ends a text; the same for the same seeds."""
    random = np.random.default_rng([shape.SEED, *seeds])
    ids: list[int] = random.integers(0, shape.END_ID, length).tolist()
    return ids


def _run_round(
    peers: Peers,
    entered: list[tuple[Contestant, Worker]],
    at: tuple[int, int],
    plan: Plan,
    patience: machine.Patience,
    measured: Measured,
) -> None:
    """One response of each mode to each prompt; `at` are the threads and the round's number."""
    threads, number = at
    turns = [
        (contestant, worker, mode) for contestant, worker in entered for mode in contestant.modes
    ]
    for prompt in plan.prompts:
        for _, worker, mode in turns:
            worker.ask(mode, prompt_ids(prompt, length=prompt), _WARM_UP_TOKENS)
        patience.wait_for_quiet(machine.first_cores(threads))
        rates = measured.bandwidth.setdefault((threads, prompt), [])
        rates.append(machine.bandwidth(peers, threads))
        # New ids each round: what a runtime keeps of an earlier prompt must not help it. Each
        # round begins with another contestant: none always follows the same one.
        ids = prompt_ids(threads, prompt, number, length=prompt)
        first = number % len(turns)
        for contestant, worker, mode in turns[first:] + turns[:first]:
            timing, disturbed = _least_disturbed(worker, mode, ids, threads, plan, patience)
            measured.samples.append(
                Sample(
                    name=contestant.name,
                    mode=mode,
                    threads=threads,
                    prompt=prompt,
                    round=number,
                    timing=timing,
                    disturbed=disturbed,
                )
            )


def _least_disturbed(
    worker: Worker,
    mode: Mode,
    ids: list[int],
    threads: int,
    plan: Plan,
    patience: machine.Patience,
) -> tuple[Timing, float]:
    """The choice looks at others' CPU time alone, never at how fast the response was."""
    tries: list[tuple[float, Timing]] = []
    cores = machine.first_cores(threads)
    while not tries or (tries[-1][0] > plan.disturbance and len(tries) <= plan.retries):
        patience.wait_for_quiet(cores)
        ids = [*ids[1:], ids[0]]  # nothing kept of the last try may help this one
        start, busy = time.perf_counter(), machine.busy_seconds(cores)
        timing = worker.ask(mode, ids, plan.new_tokens)
        used = timing.prefill_cpu_s + timing.decode_cpu_s
        others = machine.busy_seconds(cores) - busy - used
        tries.append((max(others, 0.0) / (time.perf_counter() - start) / threads, timing))
    disturbed, timing = min(tries, key=lambda found: found[0])
    return timing, disturbed
