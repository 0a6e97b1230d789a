"""An ExecuTorch program beside ONNX Runtime's, of one model: bytes, quality, score, speed.

Both answer the same queries of the test split on one thread, query by query in turn, each going
first in every other round, so that what else the machine does falls on both. Speeds are given as
ratios of the seconds of a round: above 1, ExecuTorch is slower. It needs the extra `executorch`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quantization import CHECKPOINTS, Held, hold, summary
from rich.table import Table
from transformers import AutoModelForCausalLM

from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import Format, Scheme
from escalade.edge.base import Record, subsample
from escalade.edge.generation import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.text import NEAREST
from escalade.training.data import load_pronunciations, make_records


class Pair(NamedTuple):
    """Two ways to store weights alike, one of each format."""

    onnx: Scheme
    executorch: Scheme


PAIRS = (Pair("none", "none"), Pair("int4", "8da4w"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=CHECKPOINTS / "small-cat-xent")
    parser.add_argument("--queries", type=int, default=1000, help="of the test split")
    parser.add_argument("--rounds", type=int, default=6, help="over 200 of them, for the speed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    records = subsample(list(make_records("test", load_pronunciations())), options.queries)
    model = AutoModelForCausalLM.from_pretrained(options.model).eval()
    found: dict[str, dict[str, float]] = {}
    exact: Held | None = None
    with tempfile.TemporaryDirectory() as scratch:
        for pair in PAIRS:
            folders: dict[Format, Path] = {}
            for form, scheme in ways(pair):
                folder = folders[form] = Path(scratch) / f"{form}, {scheme}"
                size = exported(options.model, folder, form, scheme)
                held = hold(model, folder, records, size)
                exact = exact or held
                found[folder.name] = summary(held, exact)
            ratios = slower(
                Artifact.open(folders["executorch"], threads=1),
                Artifact.open(folders["onnx"], threads=1),
                subsample(records, 200),
                options.rounds,
            )
            found[folders["executorch"].name] |= {
                "seconds_over_onnx": statistics.median(ratios),
                "seconds_over_onnx_least": min(ratios),
                "seconds_over_onnx_most": max(ratios),
            }
    if options.json:
        print(json.dumps({"queries": len(records), "artifacts": found}, indent=2))
        return
    show(found, len(records))


def ways(pair: Pair) -> tuple[tuple[Format, Scheme], ...]:
    """Both formats, each with how it stores weights."""
    return ("onnx", pair.onnx), ("executorch", pair.executorch)


def exported(model: Path, folder: Path, form: Format, scheme: Scheme) -> int:
    """Export, and the program's bytes."""
    note_console().print(f"exporting, {folder.name} ...", style="dim")
    manifest = export_artifact(
        model, folder, format=form, quantize=scheme, rounded_by=NEAREST, golden_prompts=["g2p: a"]
    )
    return sum(entry.bytes for name, entry in manifest.files.items() if name.startswith("model."))


def slower(one: Artifact, other: Artifact, records: Sequence[Record], rounds: int) -> list[float]:
    """Seconds of `one` over seconds of `other`, round by round."""
    prompts = [one.encode(record.prompt) for record in records]
    ratios = []
    for number in range(rounds + 1):
        seconds = dict.fromkeys((one, other), 0.0)
        for prompt in prompts:
            for artifact in (one, other) if number % 2 else (other, one):
                started = time.perf_counter()
                artifact.generate(prompt)
                seconds[artifact] += time.perf_counter() - started
        ratios.append(seconds[one] / seconds[other])
    return ratios[1:]  # the first warms both up


def show(found: dict[str, dict[str, float]], queries: int) -> None:
    """Print the table."""
    table = Table(
        "format, weights", "bytes", "exact match", "torch's tokens", "mean NLL error",
        "seconds against onnx",
        title=f"{queries} test queries",
    )  # fmt: skip
    for name, row in found.items():
        ratio = ""
        if "seconds_over_onnx" in row:
            ratio = (
                f"{row['seconds_over_onnx']:.2f} x ({row['seconds_over_onnx_least']:.2f}-"
                f"{row['seconds_over_onnx_most']:.2f})"
            )
        table.add_row(
            name,
            f"{row['program_bytes']:,.0f}",
            f"{row['exact_match']:.1%}",
            f"{row['same_tokens']:.1%}",
            f"{row['nll_error_mean']:.2g}",
            ratio,
        )
    result_console().print(table)


if __name__ == "__main__":
    main()
