"""How many answers of the device in a browser are Python's, and how far their scores are apart.

    .venv/bin/python -m benchmarks.web.parity [SCHEME ...]

The bundled small model in each quantization, or in those that are named: the same queries, in
headless Chromium and here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.web.site import driven
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.edge import Artifact
from escalade.edge.artifact import Scheme
from escalade.edge.base import read_records, subsample, write_records
from escalade.edge.deferral import mean_nll
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data import load_pronunciations, make_records

_SMALL = Path(__file__).parents[2] / "training" / "checkpoints" / "small-cat-xent"
_QUERIES, _GOLDEN, _THREADS = 1000, 8, 2
# With the bits of activations and, all told, of a weight; None: the format's own.
_SCHEMES: tuple[tuple[Scheme, int | None, float | None], ...] = (
    ("none", None, None),
    ("float16", None, None),
    ("dynamic-int8", None, None),
    ("int8", 8, None),
    ("int8", 32, None),
    ("int4", 8, None),
    ("int4", 32, None),
    ("int4", 32, 4.5),  # in 2, 3, 4, 5 and 6
)

_ASK = """async prompts => {
  const rows = [];
  for (const prompt of prompts) {
    const { answer } = await device.ask(prompt);
    rows.push([answer.device.tokens.map(one => one.id), answer.device.score]);
  }
  return rows;
}"""


def main() -> None:
    """Compare and print."""
    wanted = set(sys.argv[1:])
    table = Table("quantization", "same tokens", "largest |delta NLL| of those")
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "test.jsonl"
        write_records(data, make_records("test", load_pronunciations()))
        prompts = [record.prompt for record in subsample(read_records(data), _QUERIES)]
        for scheme, activation_bits, bits in _SCHEMES:
            if wanted and scheme not in wanted:
                continue
            named = scheme if bits is None else f"{scheme} in {bits} bits"
            if activation_bits is not None:
                named += f", {activation_bits}-bit activations"
            folder = Path(scratch) / named.replace(", ", "-")
            note_console().print(f"exporting and asking in {named}", style="dim")
            export_artifact(
                _SMALL,
                folder,
                quantize=scheme,
                bits=bits,
                activation_bits=activation_bits,
                golden_prompts=prompts[:_GOLDEN],
                tuned=False,
            )
            same, apart = _compared(folder, prompts)
            table.add_row(named, f"{same} of {len(prompts)}", f"{apart:.2g}")
    result_console().print(table)


def _compared(folder: Path, prompts: list[str]) -> tuple[int, float]:
    with driven(folder, _THREADS) as (page, _):
        rows = page.evaluate(_ASK, prompts)
    artifact = Artifact.open(folder)
    same, apart = 0, 0.0
    for prompt, (tokens, score) in zip(prompts, rows, strict=True):
        steps = artifact.generate(artifact.encode(prompt))
        if tokens == [step.token_id for step in steps]:
            same += 1
            apart = max(apart, abs(score - mean_nll([step.logprob for step in steps])))
    return same, apart


if __name__ == "__main__":
    main()
