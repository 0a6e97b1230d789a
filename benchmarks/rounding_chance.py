"""How far chance goes in what int4 costs the bundled small model: other draws of its own text.

    python -m benchmarks.rounding_chance

Weights are rounded by text that the model draws, once for each seed, and every program is asked the
whole validation split, by which such things are chosen. For each kind of text: the points of exact
match that are lost against float32, answers that stay the same, and how many more queries go on to
the large model, by mean and spread over the seeds. Go on must as many, those of the highest score
first, as make the cascade so often right: midway between float32 and the large model, and on
average over all qualities between the two. Kinds are whole windows
that the model writes on, answers to prompts as its tokenizer closes them, which is what `export`
takes, the same in blocks of 16; and prompts of the training split, drawn for each seed, by which
what is rounded is then tuned all together, or not, or so in blocks of 16.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from benchmarks.equal_quality import calls, more_calls, sweep_of
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import Scheme
from escalade.edge.base import Record, subsample
from escalade.edge.deferral import mean_nll
from escalade.edge.generation import Artifact
from escalade.export import quantization
from escalade.export.artifact.artifact import export_artifact
from escalade.export.text import RoundingText
from escalade.simulator.recorded import Bools, Floats
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
_TRAINING_PROMPTS = 4096  # as many as `--gptq DATA` takes
_TEXTS = ("own", "prompts")
_GOLDEN = ["g2p: a"]


class Way(NamedTuple):
    """One way to store weights."""

    scheme: Scheme = "int4"
    block_size: int | None = None
    prompts: list[str] | None = None
    tuned: bool = False


class Answers(NamedTuple):
    """Of every query."""

    right: Bools
    scores: Floats
    texts: list[str]


class Cost(NamedTuple):
    """Of one rounding, in percent."""

    lost: float
    same: float
    #: Midway; and on average over all qualities.
    more_calls: float
    on_average: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--queries", type=int, help="of the validation split; default: all")
    parser.add_argument(
        "--text", nargs="+", choices=_TEXTS, default=_TEXTS, help="whose; default: all"
    )
    options = parser.parse_args()
    quiet_third_party()
    records = subsample(list(make_records("valid", load_pronunciations())), options.queries)
    small = CHECKPOINTS / "small-cat-xent"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"

        def of(model: Path, say: str, way: Way) -> Answers:
            note_console().print(f"{model.name}, {say} ...", style="dim")
            export_artifact(
                model,
                out,
                quantize=way.scheme,
                block_size=way.block_size,
                rounded_by=RoundingText(
                    way.prompts, own=way.scheme == "int4" and way.prompts is None
                ),
                tuned=way.tuned,
                golden_prompts=_GOLDEN,
            )
            return answers(out, records)

        large = of(CHECKPOINTS / "large", "float32", Way("none"))
        exact = of(small, "float32", Way("none"))
        rows: dict[str, list[Cost]] = {}

        def add(kind: str, seed: int, way: Way) -> None:
            found = of(small, f"{kind}, seed {seed}", way)
            rows.setdefault(kind, []).append(cost(found, exact, large))

        for seed in range(options.seeds if "own" in options.text else 0):
            with _seeded(seed, windows=True):
                add("windows", seed, Way())
            with _seeded(seed):
                add("answers", seed, Way())
            with _seeded(seed):
                add("answers, blocks of 16", seed, Way(block_size=16))
        for seed in range(options.seeds if "prompts" in options.text else 0):
            prompts = training_prompts(seed)
            add("training prompts", seed, Way(prompts=prompts))
            add("training prompts, tuned", seed, Way(prompts=prompts, tuned=True))
            sixteen = Way(block_size=16, prompts=prompts, tuned=True)
            add("training prompts, tuned, blocks of 16", seed, sixteen)
    table = Table(
        "text", "drawn", "points lost", "same answers, %", "more calls midway, %",
        "on average, %",
        title=f"{len(records):,} validation queries; mean (least to most)",
    )  # fmt: skip
    for kind, costs in rows.items():
        table.add_row(kind, str(len(costs)), *(_spread(one) for one in zip(*costs, strict=True)))
    result_console().print(table)


@contextmanager
def _seeded(seed: int, *, windows: bool = False) -> Iterator[None]:
    """Has the exporter draw other text; as if no tokenizer closed prompts, if it is windows."""
    with ExitStack() as stack:
        for name in ("write_text", "write_answers"):
            drawn = partial(getattr(quantization, name), seed=seed)
            stack.enter_context(patch.object(quantization, name, drawn))
        if windows:
            stack.enter_context(patch.object(quantization, "asked_by", lambda tokenizer: None))
        yield


def training_prompts(seed: int) -> list[str]:
    """As many of the training split as `export --gptq DATA` takes, drawn by a seed."""
    train = list(make_records("train", load_pronunciations()))
    some = random.Random(seed).sample(train, _TRAINING_PROMPTS)  # noqa: S311 - no secret
    return [record.prompt for record in some]


def answers(folder: Path, records: Sequence[Record]) -> Answers:
    """What an artifact says to every query."""
    artifact = Artifact.open(folder, threads=1)
    found = []
    for record in records:
        steps = artifact.generate(artifact.encode(record.prompt))
        text = artifact.text_of(steps)
        found.append((text in record.references, mean_nll([one.logprob for one in steps]), text))
    right, scores, texts = zip(*found, strict=True)
    return Answers(np.array(right), np.array(scores), list(texts))


def cost(found: Answers, exact: Answers, large: Answers) -> Cost:
    """Of a rounding, against float32."""
    midway = float(exact.right.mean() + large.right.mean()) / 2
    same = np.mean([one == other for one, other in zip(found.texts, exact.texts, strict=True)])
    sweeps = [sweep_of(one.right, one.scores, large.right) for one in (exact, found)]
    before, after = (calls(sweep.curve(), midway) for sweep in sweeps)
    (mean,) = more_calls(sweeps[0], sweeps[1:])
    return Cost(
        lost=100 * float(exact.right.mean() - found.right.mean()),
        same=100 * float(same),
        more_calls=100 * (after / before - 1),
        on_average=100 * mean,
    )


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
