"""What a batch on the CPU gains where each sequence attends to its own keys alone.

    .venv/bin/python -m benchmarks.cloud.attention [--rounds N] [--json]

SmolLM2-135M in one process, with our attention and with the library's, which masks the keys of the
others, in turns; tokens a second, medians over the rounds, and the median of the rounds' ratios.
With a long beginning that all prompts share the keys are many, and are read once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import time
from dataclasses import asdict, dataclass

from benchmarks.cloud.smollm2 import PROMPTS, SMOLLM2, smollm2
from rich.table import Table

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.cloud.backends import Query, Ticket
from escalade.cloud.backends.decoding.attention import STEPS
from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.packing import pack
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine

#: Sequences, tokens of each, and how often the beginning of 7 tokens stands before its prompt.
WORKLOADS = ((1, 32, 0), (16, 48, 0), (64, 24, 0), (16, 24, 60), (32, 16, 60))
BEGINNING = "the cat sat on the mat. "


@dataclass(kw_only=True)
class Row:
    """One workload."""

    sequences: int
    tokens: int
    shared_words: int
    own_tokens_per_s: float
    library_tokens_per_s: float
    ratio: float


async def tokens_per_s(backend: BatchedBackend, sequences: int, tokens: int, repeats: int) -> float:
    """What so many sequences get."""

    async def ask(number: int) -> int:
        prompt = BEGINNING * repeats + PROMPTS[number % len(PROMPTS)]
        query = Query((), tokens, prompt_text=prompt)
        answers = [one.answer async for one in backend.generate(query, ticket) if one.answer]
        return answers[0].generated_tokens

    ticket = Ticket(math.inf, time.monotonic)
    started = time.perf_counter()
    generated = sum(await asyncio.gather(*map(ask, range(sequences))))
    return generated / (time.perf_counter() - started)


async def measure(options: argparse.Namespace) -> list[Row]:
    """Every workload."""
    engine = TransformersEngine.load(str(smollm2(SMOLLM2)), threads=options.threads)
    pack(engine.network)
    backend = BatchedBackend(lambda: engine, queue_capacity=64, clock=time.monotonic)
    await backend.load()
    assert backend._batcher is not None  # noqa: S101 - it is loaded
    cache = backend._batcher._processor.cache
    ours = getattr(cache, STEPS)
    rows = []
    try:
        for sequences, tokens, repeats in WORKLOADS:
            found: dict[bool, list[float]] = {True: [], False: []}
            await tokens_per_s(backend, sequences, 1, repeats)
            for _ in range(options.rounds):
                for own in (True, False):
                    setattr(cache, STEPS, ours if own else None)
                    found[own].append(await tokens_per_s(backend, sequences, tokens, repeats))
            pairs = zip(found[True], found[False], strict=True)
            rows.append(
                Row(
                    sequences=sequences,
                    tokens=tokens,
                    shared_words=len(BEGINNING.split()) * repeats,
                    own_tokens_per_s=statistics.median(found[True]),
                    library_tokens_per_s=statistics.median(found[False]),
                    ratio=statistics.median(own / library for own, library in pairs),
                )
            )
    finally:
        backend.close()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    rows, load = asyncio.run(measure(options)), os.getloadavg()[0]
    if options.json:
        print(json.dumps({"load_average": load, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    table = Table("sequences", "tokens", "shared words", "own", "library", "ratio")
    for row in rows:
        speeds = f"{row.own_tokens_per_s:.0f}/s", f"{row.library_tokens_per_s:.0f}/s"
        sizes = str(row.sequences), str(row.tokens), str(row.shared_words)
        table.add_row(*sizes, *speeds, f"{row.ratio:.2f}x")
    result_console().print(table)
    result_console().print(f"load average {load:.1f}")


if __name__ == "__main__":
    main()
