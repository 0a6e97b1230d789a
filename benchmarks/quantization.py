"""What each way to store weights costs the bundled small model: bytes, tokens, scores.

On queries of the test split that nothing was tuned on, in one run: each artifact against
torch, token for token; exact match; and how far the NLL that the artifact gives its own
answer lies from what torch gives the same tokens. GPTQ reads prompts of the training split, or
text that the model writes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from transformers import AutoModelForCausalLM, PreTrainedModel

from escalade.cli.output import note_console, progress_bar, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import Scheme
from escalade.edge.base import Record, subsample
from escalade.edge.deferral import mean_nll
from escalade.edge.generation import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.held.parity import torch_on
from escalade.export.text import RoundingText
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
_GPTQ_PROMPTS = 512


class Way(NamedTuple):
    """One way to store weights."""

    name: str
    scheme: Scheme
    head_bits: int | None = None
    #: Whose text weights are rounded by: nobody's, the model's own, prompts'.
    by: Literal["nobody", "model", "prompts"] = "nobody"


WAYS = (
    Way("none", "none"),
    Way("float16", "float16"),
    Way("int8", "int8"),
    Way("int8, GPTQ", "int8", by="prompts"),
    Way("int4, nearest", "int4"),
    Way("int4", "int4", by="model"),
    Way("int4, GPTQ", "int4", by="prompts"),
    Way("int4, 4-bit head", "int4", head_bits=4, by="model"),
    Way("int4, 4-bit head, GPTQ", "int4", head_bits=4, by="prompts"),
    Way("dynamic-int8", "dynamic-int8"),
)


class Held(NamedTuple):
    """An artifact held against torch, query by query."""

    program_bytes: int
    right: NDArray[np.bool_]
    same_tokens: NDArray[np.bool_]
    nll_error: NDArray[np.float64]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=CHECKPOINTS / "small-cat-xent")
    parser.add_argument("--queries", type=int, default=1000, help="of the test split")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    pronunciations = load_pronunciations()
    records = subsample(list(make_records("test", pronunciations)), options.queries)
    train = subsample(list(make_records("train", pronunciations)), _GPTQ_PROMPTS)
    model = AutoModelForCausalLM.from_pretrained(options.model).eval()
    given = {"nobody": [], "model": None, "prompts": [record.prompt for record in train]}
    held: dict[str, Held] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for way in WAYS:
            note_console().print(f"exporting, {way.name} ...", style="dim")
            folder = Path(scratch) / way.name
            manifest = export_artifact(
                options.model,
                folder,
                quantize=way.scheme,
                head_bits=way.head_bits,
                rounded_by=RoundingText(given[way.by], own=way.by == "model"),
                golden_prompts=["g2p: a"],
            )
            size = sum(
                entry.bytes for name, entry in manifest.files.items() if name.startswith("model.")
            )
            held[way.name] = hold(model, folder, records, size)
    found = {name: summary(each, held["none"]) for name, each in held.items()}
    if options.json:
        print(json.dumps({"queries": len(records), "artifacts": found}, indent=2))
        return
    table = Table(
        "weights", "bytes", "exact match", "points lost", "torch's tokens", "NLL error: mean",
        "p50", "p90", "p99", "max",
        title=f"{len(records)} test queries",
    )  # fmt: skip
    for name, row in found.items():
        table.add_row(
            name,
            f"{row['program_bytes']:,.0f}",
            f"{row['exact_match']:.1%}",
            f"{row['points_lost']:+.1f}",
            f"{row['same_tokens']:.1%}",
            *(f"{row[f'nll_error_{part}']:.2g}" for part in ("mean", "p50", "p90", "p99", "max")),
        )
    result_console().print(table)


def hold(model: PreTrainedModel, folder: Path, records: Sequence[Record], size: int) -> Held:
    """Let an artifact answer, and torch look at its answers."""
    artifact = Artifact.open(folder)
    rows: list[tuple[bool, bool, float]] = []
    with progress_bar(folder.name) as tick:
        for done, record in enumerate(records, start=1):
            prompt_ids = artifact.encode(record.prompt)
            steps = artifact.generate(prompt_ids)
            token_ids = [step.token_id for step in steps]
            text = artifact.text_of(steps)
            greedy_ids, nll = torch_on(
                model, prompt_ids, token_ids, artifact.manifest.model.end_of_sequence_ids
            )
            error = abs(mean_nll([step.logprob for step in steps]) - nll)
            rows.append((text in record.references, greedy_ids == token_ids, error))
            tick(done, len(records))
    right, same, errors = zip(*rows, strict=True)
    return Held(size, np.array(right), np.array(same), np.array(errors))


def summary(held: Held, exact: Held) -> dict[str, float]:
    """The figures of one row; points are lost against the float32 artifact."""
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        "program_bytes": held.program_bytes,
        "bytes_over_float32": held.program_bytes / exact.program_bytes,
        "exact_match": float(held.right.mean()),
        "points_lost": 100 * float(exact.right.mean() - held.right.mean()),
        "same_tokens": float(held.same_tokens.mean()),
        "nll_error_mean": float(held.nll_error.mean()),
    } | {
        f"nll_error_{name}": float(np.quantile(held.nll_error, q)) for name, q in quantiles.items()
    }


if __name__ == "__main__":
    main()
