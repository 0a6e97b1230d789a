"""Runs the comparison: `python -m benchmarks.device`; see the package's docstring."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.device import figures, llama_builds, machine, shape
from benchmarks.device.artifacts import exported
from benchmarks.device.build import (
    LLAMA_CPP_OPTIONS,
    REPOSITORY,
    WORKER_FLAGS,
    Peers,
    genai_options,
    say,
)
from benchmarks.device.contestants import our_contestant, peer_contestants
from benchmarks.device.report import Report, print_report
from benchmarks.device.rounds import Plan, measure, of_own_tool

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party


def main() -> None:
    """Build what is missing, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.device", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one prompt, 32 tokens, 3 rounds")
    parser.add_argument("--build", action="store_true", help="build what is missing, then stop")
    parser.add_argument("--artifact", type=Path, help="of this model; default: export it now")
    parser.add_argument("--peers-only", action="store_true", help="leave our program out")
    parser.add_argument(
        "--matched-only", action="store_true", help="only peers with our head's bits"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=list(shape.THREADS))
    parser.add_argument("--prompts", type=int, nargs="+", default=list(shape.PROMPTS))
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="on a shared machine: how long, all together, to wait until the cores are idle",
    )
    parser.add_argument("--root", type=Path, default=REPOSITORY / "runs" / "peers")
    parser.add_argument("--json", type=Path, help="write everything, the samples too, to this file")
    options = parser.parse_args()
    quiet_third_party()

    peers = Peers(options.root)
    peers.build()
    if options.build:
        return
    say("asking each build of llama.cpp how fast it is")
    probed = llama_builds.probe(peers.llama_builds(), peers.gguf(8))
    fastest = llama_builds.fastest(probed)
    contestants = peer_contestants(peers, fastest)
    artifact: Path | None = None
    if not options.peers_only:
        say("exporting our artifact")
        artifact = options.artifact or exported(peers.model, peers.root, REPOSITORY)
        ours = our_contestant(artifact)
        if options.matched_only:
            contestants = [one for one in contestants if one.head_bits == ours.head_bits]
        contestants.append(ours)
    plan = Plan(
        rounds=options.rounds,
        threads=tuple(options.threads),
        prompts=tuple(options.prompts),
        patience_s=options.patience,
    )
    if options.quick:
        plan = replace(plan, rounds=3, prompts=plan.prompts[:1], new_tokens=32)

    described = machine.description()
    measured = measure(peers, contestants, plan)
    own_tool = of_own_tool(peers.llama_build(fastest), peers.gguf(8), plan)
    costs = {}
    if artifact is not None:
        for threads in plan.threads:
            say(f"{threads} threads: what of a step the score takes")
            costs[threads] = figures.Spread.of(machine.score_costs(artifact, threads))
    report = Report(
        settings={"seed": shape.SEED, **asdict(plan)},
        machine=described,
        versions=machine.versions(peers),
        builds={
            "llama.cpp options": " ".join((*LLAMA_CPP_OPTIONS, *fastest.options)),
            **{f"llama.cpp build {one.build.name}": one.in_words for one in probed},
            "llama.cpp build taken": fastest.name,
            "llama.cpp loop": " ".join(WORKER_FLAGS),
            "genai options": " ".join(genai_options(8)),
        },
        bandwidth={
            threads: figures.Spread.of(
                rate
                for key, rates in measured.bandwidth.items()
                if key[0] == threads
                for rate in rates
            )
            for threads in plan.threads
        },
        llama_bench=own_tool,
        rows=figures.rows(measured, contestants),
        ratios=figures.ratios(measured, contestants),
        score_cost=costs,
        import_s=machine.import_seconds("from escalade.edge import EdgeClient"),
        samples=[asdict(sample) for sample in measured.samples],
    )
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print_report(result_console(), report)


if __name__ == "__main__":
    main()
