"""What a draft saves the large model: forward passes, and seconds, with the same tokens.

    .venv/bin/python -m benchmarks.cloud.drafts [--split valid] [--batched] [--json]

Two workloads, each query computed with its draft and without, in turns:

- bundled: queries of the split that the small checkpoint is least sure of (mean
  log-probability, the share `--defer`), with its own answers as drafts, for the large checkpoint;
- long answers: SmolLM2-135M, with drafts of itself with weights rounded to 8 and to 4 bits, as a
  device has them: symmetrically, a scale for each row.

Passes are counted where the model computes. The time of making a draft is not counted: a device
has made it before it asks. `--batched` asks 16 at once, computed together. What reading ahead is
tuned on is the validation split, and other prompts.

`costs` is what a pass over so many tokens takes beside one over a single token, behind a prompt of
100, by processor time: how much may be read ahead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from benchmarks.cloud.smollm2 import PROMPTS, SMOLLM2, smollm2
from rich.table import Table

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.cloud.backends import Answer, Backend, Query, Ticket
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.edge.base import subsample
from escalade.training.data import load_pronunciations, make_records
from escalade.v1 import cascade_pb2 as pb

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
AT_ONCE = 16
WIDTHS = (1, 2, 4, 8, 16, 32)


@dataclass(kw_only=True)
class Row:
    """One workload."""

    workload: str
    queries: int
    #: Share of the drafts' tokens that the large model keeps.
    accepted: float
    passes: int
    passes_drafted: int
    seconds: float
    seconds_drafted: float
    #: Answers whose tokens are the same.
    equal: int
    #: Of a pass over each of `WIDTHS` tokens, beside that over one.
    costs: list[float]

    @property
    def fewer_passes(self) -> float:
        """Passes without drafts beside those with."""
        return self.passes / self.passes_drafted

    @property
    def speedup(self) -> float:
        """Seconds without drafts beside those with."""
        return self.seconds / self.seconds_drafted


class Model:
    """A backend whose forward passes are counted."""

    def __init__(self, engine: TransformersEngine, backend: Backend) -> None:
        self.engine, self.backend = engine, backend
        self.passes = 0
        engine.network.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.passes += 1

    @classmethod
    async def load(cls, folder: Path, *, threads: int, batched: bool = False) -> Model:
        """Load a model from a folder; batched or one query at a time."""
        engine = TransformersEngine.load(str(folder), threads=threads)
        make = BatchedBackend if batched else EmbeddedBackend
        model = cls(engine, make(lambda: engine, queue_capacity=AT_ONCE, clock=time.monotonic))
        await model.backend.load()
        return model

    @torch.inference_mode()
    def costs(self, rounds: int = 20) -> list[float]:
        """Of a pass over each of `WIDTHS` tokens, beside that over one: medians."""
        network, ids = self.engine.network, torch.full((1, 100), 5)
        known = ids[:, : self.engine.info.context_length // 2]
        cache = network(known, use_cache=True).past_key_values
        seconds: list[list[float]] = [[] for _ in WIDTHS]
        for _ in range(rounds):
            for width, spent in zip(WIDTHS, seconds, strict=True):
                began = time.process_time()
                network(ids[:, :width], past_key_values=cache, use_cache=True, logits_to_keep=width)
                spent.append(time.process_time() - began)
                cache.crop(-width)
        medians = [statistics.median(spent) for spent in seconds]
        return [median / medians[0] for median in medians]

    async def ask(self, query: Query) -> Answer:
        """The whole answer."""
        answer = None
        async for delta in self.backend.generate(query, Ticket(math.inf, time.monotonic)):
            answer = delta.answer
        assert answer is not None  # noqa: S101 - the last delta has it
        return answer

    async def ask_all(self, queries: Sequence[Query]) -> list[Answer]:
        """All answers, computed as the backend does."""
        return await asyncio.gather(*map(self.ask, queries))


def drafted(query: Query, answer: Answer, fingerprint: str) -> Query:
    """The query with an answer as its draft."""
    tokens = pb.TokenSequence(ids=answer.chosen_ids, tokenizer_fingerprint=fingerprint)
    return Query(query.prompt_ids, query.max_new_tokens, draft=pb.Draft(tokens=tokens))


async def compare(
    workload: str, model: Model, queries: Sequence[Query], drafts: Sequence[Answer], at_once: int
) -> Row:
    """Every query both ways, the first of a pair another each time."""
    fingerprint = model.engine.info.model.tokenizer_fingerprint
    with_drafts = [
        drafted(query, draft, fingerprint) for query, draft in zip(queries, drafts, strict=True)
    ]
    both = (list(queries), with_drafts)
    passes, seconds = [0, 0], [0.0, 0.0]
    answers: tuple[list[Answer], list[Answer]] = ([], [])
    await model.ask_all(queries[:1])
    for number, start in enumerate(range(0, len(queries), at_once)):
        for way in ((0, 1), (1, 0))[number % 2]:
            before, began = model.passes, time.perf_counter()
            answers[way].extend(await model.ask_all(both[way][start : start + at_once]))
            seconds[way] += time.perf_counter() - began
            passes[way] += model.passes - before
    kept = sum(
        len(os.path.commonprefix([draft.chosen_ids, answer.chosen_ids]))  # noqa: RUF071
        for draft, answer in zip(drafts, answers[0], strict=True)
    )
    return Row(
        workload=workload,
        queries=len(queries),
        accepted=kept / sum(len(draft.chosen_ids) for draft in drafts),
        passes=passes[0],
        passes_drafted=passes[1],
        seconds=seconds[0],
        seconds_drafted=seconds[1],
        equal=sum(
            one.chosen_ids == other.chosen_ids and one.text == other.text
            for one, other in zip(*answers, strict=True)
        ),
        costs=[] if at_once > 1 else model.costs(),
    )


async def bundled(options: argparse.Namespace) -> Row:
    """Deferred queries of the bundled tasks."""
    small = await Model.load(CHECKPOINTS / "small-cat-xent", threads=options.threads)
    large = await Model.load(
        CHECKPOINTS / "large", threads=options.threads, batched=options.batched
    )
    records = subsample([*make_records(options.split, load_pronunciations())], options.queries)
    queries = [
        Query(tuple(large.engine.encode(one.prompt)), large.engine.info.max_new_tokens // 2)
        for one in records
    ]
    said = [await small.ask(query) for query in queries]
    # Least sure first: the mean log-probability (equation 5 of the CAT paper).
    order = sorted(range(len(said)), key=lambda k: sum(said[k].logprobs) / len(said[k].logprobs))
    deferred = sorted(order[: round(options.defer * len(order))])
    row = await compare(
        f"bundled, {options.defer:.0%} deferred",
        large,
        [queries[k] for k in deferred],
        [said[k] for k in deferred],
        AT_ONCE if options.batched else 1,
    )
    small.backend.close()
    large.backend.close()
    return row


async def long_answers(options: argparse.Namespace) -> list[Row]:
    """Answers of many tokens."""
    folder = smollm2(options.model)
    large = await Model.load(folder, threads=options.threads, batched=options.batched)
    queries = [
        Query(tuple(large.engine.encode(prompt)), options.tokens)
        for prompt in (PROMPTS if options.split == "test" else PROMPTS[::-1])[: options.long]
    ]
    rows = []
    for bits in (8, 4):
        device = await Model.load(folder, threads=options.threads)
        round_weights(device.engine.network, bits)
        drafts = [await device.ask(query) for query in queries]
        device.backend.close()
        at_once = AT_ONCE if options.batched else 1
        rows.append(
            await compare(f"long answers, {bits}-bit draft", large, queries, drafts, at_once)
        )
    large.backend.close()
    return rows


@torch.no_grad()
def round_weights(network: torch.nn.Module, bits: int) -> None:
    """Round every weight matrix to so many bits, symmetrically, a scale for each row."""
    most = 2 ** (bits - 1) - 1
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            scale = module.weight.abs().amax(dim=1, keepdim=True) / most
            module.weight.copy_((module.weight / scale).round() * scale)


async def run(options: argparse.Namespace) -> list[Row]:
    """Both workloads."""
    return [await bundled(options), *await long_answers(options)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--queries", type=int, default=600, help="of the bundled tasks")
    parser.add_argument("--defer", type=float, default=0.3, help="share that is deferred")
    parser.add_argument("--long", type=int, default=8, help="long answers")
    parser.add_argument("--tokens", type=int, default=64, help="of a long answer, at most")
    parser.add_argument("--model", type=Path, default=SMOLLM2, help="made where it is not there")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batched", action="store_true", help=f"{AT_ONCE} at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    rows = asyncio.run(run(options))
    load = os.getloadavg()[0]
    if options.json:
        print(json.dumps({"load_average": load, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    for row in rows:
        if row.costs:
            costs = ", ".join(
                f"{width}: {cost:.2f}x" for width, cost in zip(WIDTHS, row.costs, strict=True)
            )
            result_console().print(f"{row.workload}: a pass over so many tokens: {costs}")
    table = Table("workload", "queries", "kept", "passes", "fewer", "seconds", "faster", "equal")
    for row in rows:
        table.add_row(
            row.workload,
            str(row.queries),
            f"{row.accepted:.0%}",
            f"{row.passes} > {row.passes_drafted}",
            f"{row.fewer_passes:.2f}x",
            f"{row.seconds:.1f} > {row.seconds_drafted:.1f}",
            f"{row.speedup:.2f}x",
            f"{row.equal} of {row.queries}",
        )
    result_console().print(table)
    result_console().print(f"load average {load:.1f}")


if __name__ == "__main__":
    main()
