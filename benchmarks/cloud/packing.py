"""What it saves to lay a model's weights out as the CPU's matrix products read them.

    .venv/bin/python -m benchmarks.cloud.packing [--model FOLDER] [--dtype bfloat16] [--json]

One forward pass over so many tokens, with the weights as they are loaded and laid out, in turns;
the fastest of each, and the ratio of the medians. Both are on the same machine at the same time,
whatever else it does.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from benchmarks.cloud.smollm2 import SMOLLM2, smollm2
from rich.table import Table
from transformers import PreTrainedModel

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.cloud.backends.embedded.packing import pack
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine

TOKENS = (1, 2, 4, 8, 16, 64, 256)
#: Tokens of all passes of a row together, and passes at least and at most.
_TOKENS, _LEAST, _MOST = 400, 8, 40


@dataclass(kw_only=True)
class Row:
    """So many tokens at once."""

    tokens: int
    loaded_ms: float
    packed_ms: float
    #: Loaded beside packed, of the medians.
    ratio: float


def seconds(network: PreTrainedModel, ids: torch.Tensor) -> float:
    """One pass."""
    started = time.perf_counter()
    network(ids)
    return time.perf_counter() - started


def measure(loaded: PreTrainedModel, packed: PreTrainedModel, tokens: int) -> Row:
    """Both, in turns."""
    ids = torch.arange(tokens)[None] % loaded.config.vocab_size
    turns = min(_MOST, max(_LEAST, _TOKENS // tokens))
    pairs = [(seconds(loaded, ids), seconds(packed, ids)) for _ in range(turns)]
    one, other = zip(*pairs, strict=True)
    return Row(
        tokens=tokens,
        loaded_ms=1e3 * min(one),
        packed_ms=1e3 * min(other),
        ratio=statistics.median(one) / statistics.median(other),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=SMOLLM2, help="made where it is not there")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    folder = smollm2(options.model) if options.model == SMOLLM2 else options.model
    engine = TransformersEngine.load(str(folder), threads=options.threads, dtype=options.dtype)
    loaded = engine.network
    packed = copy.deepcopy(loaded)
    pack(packed)
    window = engine.info.context_length
    with torch.inference_mode():
        rows = [measure(loaded, packed, tokens) for tokens in TOKENS if tokens <= window]
    load = os.getloadavg()[0]
    if options.json:
        print(json.dumps({"load_average": load, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    table = Table("tokens", "loaded", "packed", "ratio")
    for row in rows:
        times = f"{row.loaded_ms:.1f} ms", f"{row.packed_ms:.1f} ms"
        table.add_row(str(row.tokens), *times, f"{row.ratio:.2f}x")
    result_console().print(table)
    result_console().print(f"load average {load:.1f}")


if __name__ == "__main__":
    main()
