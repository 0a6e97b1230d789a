"""What int8 costs the bundled small model: bytes, exact match, scores; knows no network.

On the validation split: the float32 and the int8 artifact against torch, the same queries
in one run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from escalade.cli.output import progress_bar, result_console
from escalade.cli.quiet import quiet_third_party
from escalade.edge.artifact import Artifact
from escalade.edge.records import Record, spread
from escalade.edge.rules import mean_nll
from escalade.export.artifact import Scheme, export_artifact
from escalade.training.quality import greedy_answers
from escalade.training.tasks import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
SCHEMES: tuple[Scheme, ...] = ("none", "int8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=CHECKPOINTS / "small-cat-xent")
    parser.add_argument("--queries", type=int, default=4000, help="validation queries")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    records = spread(list(make_records("valid", load_pronunciations())), options.queries)
    torch_right = right(records, torch_answers(options.model, records))
    rows: dict[str, dict[str, float]] = {}
    scores: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for scheme in SCHEMES:
            folder = Path(scratch) / scheme
            manifest = export_artifact(
                options.model, folder, quantize=scheme, golden_prompts=["g2p: a"]
            )
            texts, scores[scheme] = artifact_answers(folder, records)
            size = sum(
                entry.bytes for name, entry in manifest.files.items() if name.startswith("model.")
            )
            rows[scheme] = {
                "program_bytes": size,
                "exact_match": float(right(records, texts).mean()),
                "lost_to_torch": float((torch_right - right(records, texts)).mean()),
            }
    small = rows["int8"]["program_bytes"] / rows["none"]["program_bytes"]
    raw = rows["int8"]["program_bytes"] / (4 * manifest.model.parameters)
    drift = np.abs(scores["int8"] - scores["none"])
    found = {
        "queries": len(records),
        "torch_exact_match": float(torch_right.mean()),
        "artifacts": rows,
        "int8_bytes_over_float32_program": small,
        "int8_bytes_over_float32_weights": raw,
        "score_drift_mean": float(drift.mean()),
        "score_drift_p99": float(np.quantile(drift, 0.99)),
    }
    if options.json:
        print(json.dumps(found, indent=2))
        return
    console = result_console()
    table = Table("program", "bytes", "exact match", "points lost against torch")
    table.add_row("torch, float32", "", f"{torch_right.mean():.2%}", "")
    for scheme, row in rows.items():
        table.add_row(
            f"ONNX, {scheme}",
            f"{row['program_bytes']:,.0f}",
            f"{row['exact_match']:.2%}",
            f"{100 * row['lost_to_torch']:+.2f}",
        )
    console.print(table, soft_wrap=False)
    console.print(
        f"int8 takes {small:.1%} of the float32 program's bytes ({raw:.1%} of the bare weights');"
        f" |score drift| mean {drift.mean():.4f}, p99 {np.quantile(drift, 0.99):.4f}"
        f" ({len(records)} validation queries)"
    )


def torch_answers(model_dir: Path, records: list[Record]) -> list[str]:
    """Greedy answers in float32."""
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    prompts = [record.prompt for record in records]
    answers = greedy_answers(model, tokenizer, prompts, max_new_tokens=48)
    return [answer.text for answer in answers]


def artifact_answers(folder: Path, records: list[Record]) -> tuple[list[str], np.ndarray]:
    """Greedy answers of an artifact, and their scores."""
    artifact = Artifact.open(folder)
    texts, scores = [], []
    with progress_bar(folder.name) as tick:
        for done, record in enumerate(records, start=1):
            steps = artifact.generate(artifact.encode(record.prompt))
            texts.append(artifact.decode([step.token_id for step in steps if not step.ended]))
            scores.append(mean_nll([step.logprob for step in steps]))
            tick(done, len(records))
    return texts, np.array(scores)


def right(records: list[Record], texts: list[str]) -> np.ndarray:
    """1 where the text is among the references."""
    return np.array(
        [float(t in record.references) for record, t in zip(records, texts, strict=True)]
    )


if __name__ == "__main__":
    main()
