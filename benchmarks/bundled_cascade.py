"""How good the bundled cascade is on held-out words; knows no network.

The small models answer as int8 artifacts, the way they ship; the large one in torch. The
test split is looked at here and by the demo, and nowhere else. Prints exact match by
task, and what each cascade reaches when half of the queries stay on the device.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from rich.table import Table

from escalade.cli.output import progress_bar, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.base import Record, subsample
from escalade.edge.calibration import wilson_interval
from escalade.edge.generation import Artifact
from escalade.edge.trace import MemberInfo, Trace
from escalade.export.artifact.artifact import export_artifact
from escalade.simulator.curves import deferral_curve, quality_at_deferral_rate
from escalade.training.data import TASKS, load_pronunciations, make_records
from escalade.training.quality import GreedyAnswer, exact_match
from escalade.training.recipes import open_checkpoint
from escalade.training.trace import Answered, answer_all, member_info, trace_of

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
SMALL = ("small-xent", "small-cat-xent")
ON_DEVICE = 0.5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=6000, help="test queries, evenly spread")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    records = subsample(list(make_records("test", load_pronunciations())), options.queries)
    large = large_answers(records)
    large_texts = [answer.text for answer in large.answers]
    results: dict[str, dict[str, float]] = {"large": exact_match(records, large_texts)}
    for name in SMALL:
        if (CHECKPOINTS / name / "config.json").exists():
            small = small_answers(name, records)
            trace = trace_of(records, [small, large], threshold=0.0)
            results[name] = summarize(records, trace)
    if options.json:
        print(json.dumps({"queries": len(records), "models": results}, indent=2))
        return
    show(results, len(records))


def large_answers(records: list[Record]) -> Answered:
    """Who the large model is, and its greedy answers."""
    model, tokenizer = open_checkpoint(str(CHECKPOINTS / "large"))
    with progress_bar("large") as tick:
        answers = answer_all(
            model, tokenizer, records, progress=lambda done: tick(done, len(records))
        )
    return Answered(member_info("large", model), answers)


def small_answers(name: str, records: list[Record]) -> Answered:
    """The same of a small model's int8 artifact."""
    with tempfile.TemporaryDirectory() as scratch:
        manifest = export_artifact(
            CHECKPOINTS / name, Path(scratch) / name, quantize="int8", golden_prompts=["g2p: a"]
        )
        artifact = Artifact.open(Path(scratch) / name)
        answers = []
        with progress_bar(name) as tick:
            for done, record in enumerate(records, start=1):
                prompt_ids = artifact.encode(record.prompt)
                steps = artifact.generate(prompt_ids)
                text = artifact.text_of(steps)
                logprobs = [step.logprob for step in steps]
                answers.append(GreedyAnswer(text, logprobs, len(prompt_ids)))
                tick(done, len(records))
    return Answered(MemberInfo(name=name, parameters=manifest.model.parameters), answers)


def summarize(records: list[Record], trace: Trace) -> dict[str, float]:
    """Exact match by task, and the cascade with half of the queries on the device."""
    said = [[tier for tier in record.tiers if tier is not None] for record in trace.records]
    by_task = exact_match(records, [small.text for small, _ in said])
    curve = deferral_curve(trace)
    right = np.array([bool(large.correct) for _, large in said])
    reaches = curve.deferral_rate[curve.quality >= right.mean() - 0.01]
    return {
        **by_task,
        "cascade_at_half": quality_at_deferral_rate(curve, 1 - ON_DEVICE),
        "large_over_all_queries": float(right.mean()),
        "deferral_rate_within_one_point": float(reaches.min()),
        "parameters": float(trace.header.tiers[0].members[0].parameters),
    }


def show(results: dict[str, dict[str, float]], queries: int) -> None:
    """Two tables."""
    console = result_console()
    table = Table(*("model", *TASKS, "mean of tasks"), title=f"Exact match, {queries} test queries")
    for name, found in results.items():
        table.add_row(name, *(f"{found[task]:.1%}" for task in (*TASKS, "mean")))
    console.print(table, soft_wrap=False)
    low, high = wilson_interval(results["large"]["mean"], queries)
    console.print(f"95 % interval of a share near the large model's: {low:.1%} to {high:.1%}")
    for name, found in results.items():
        if "cascade_at_half" not in found:
            continue
        gap = 100 * (results["large"]["mean"] - found["mean"])
        console.print(
            f"{name} + large: {found['cascade_at_half']:.1%} with half of the queries on the"
            f" device; large alone {found['large_over_all_queries']:.1%} over the same queries;"
            f" within 1 point of it from a deferral rate of"
            f" {found['deferral_rate_within_one_point']:.1%} on; large is {gap:.1f} points above"
            " small in the mean of tasks"
        )


if __name__ == "__main__":
    main()
