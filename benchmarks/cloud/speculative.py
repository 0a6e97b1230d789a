"""Speculative cascades on the bundled models: quality against what the large one still writes.

    .venv/bin/python -m benchmarks.cloud.speculative [--queries 600] [--seed 0] [--json]

Queries of the validation split, drawn with a seed: nothing is tuned here, and the test split is
not looked at. The small model (`small-cat-xent`, float32) answers each, and its answer goes along
as the draft. Deferred are those that it is least sure of, by the mean log-probability (CAT,
equation 5): without drafts, with exact ones, and under each acceptance rule and alpha. `written` is
the share of the large model's tokens that it still has to write one by one, against answering all
alone; `passes` its forward passes a query; `lent` the share of the answers' tokens that are not its
own choice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from escalade.cli.output import progress_bar, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.cloud.backends import Answer, Query, agreeing
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.edge.base import Record
from escalade.edge.calibration import wilson_interval
from escalade.training.data import load_pronunciations, make_records
from escalade.v1 import cascade_pb2 as pb

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
RATES = (0.25, 0.5, 1.0)
ALPHAS = (0.1, 0.3, 0.5, 0.9)
RULES = (
    pb.ACCEPTANCE_RULE_CHOW,
    pb.ACCEPTANCE_RULE_DIFF,
    pb.ACCEPTANCE_RULE_TOKEN_V2,
    pb.ACCEPTANCE_RULE_TOKEN_V3,
)


class Told(NamedTuple):
    """An answer, and what it took of the large model."""

    answer: Answer
    #: Tokens that it wrote.
    written: int = 0
    passes: int = 0


@dataclass(kw_only=True)
class Row:
    """One way to answer all queries."""

    #: Share of the queries, those that the small model is least sure of.
    deferred: float
    #: Which of a draft's tokens stand; None where no draft goes along.
    draft: str | None = None
    alpha: float | None = None
    #: Of all queries.
    exact_match: float
    #: Tokens that the large model writes, beside those that it writes when it answers all alone.
    written: float
    #: Of the large model, a query.
    passes: float
    #: Of the tokens of answers, those that stand and are not the large model's own choice.
    lent: float


class Counted:
    """A large model whose forward passes are counted."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.passes = 0
        engine.network.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.passes += 1

    def ask(self, query: Query, draft: pb.Draft | None = None) -> Told:
        """Its answer to a query, alone or with a draft."""
        before = self.passes
        answer = self.engine.generate(
            Query(query.prompt_ids, query.max_new_tokens, draft=draft), lambda: None
        )
        kept = 0 if draft is None else agreeing(draft.tokens.ids, answer.token_ids)
        return Told(answer, len(answer.logprobs) - kept, self.passes - before)


def draft_of(answer: Answer, rule: pb.AcceptanceRule | None = None, alpha: float = 0.0) -> pb.Draft:
    """The small model's answer as a device sends it: without the end of the sequence."""
    ids = list(answer.token_ids)
    draft = pb.Draft(tokens=pb.TokenSequence(ids=ids), logprobs=answer.logprobs[: len(ids)])
    if rule is not None:
        draft.acceptance.rule, draft.acceptance.alpha = rule, alpha
    return draft


def measure(records: Sequence[Record]) -> list[Row]:
    """Every row."""
    small = TransformersEngine.load(str(CHECKPOINTS / "small-cat-xent"), threads=1)
    large = Counted(TransformersEngine.load(str(CHECKPOINTS / "large"), threads=1))
    most = large.engine.info.max_new_tokens // 2
    queries = [Query(tuple(large.engine.encode(one.prompt)), most) for one in records]
    count = len(records)
    said = [small.generate(query, lambda: None) for query in queries]
    order = sorted(range(count), key=lambda k: sum(said[k].logprobs) / len(said[k].logprobs))
    alone = [large.ask(query) for query in queries]
    whole = sum(told.written for told in alone)

    def row(rate: float, told: Sequence[Told], draft: str | None, alpha: float | None) -> Row:
        deferred = set(order[: round(rate * count)])
        mixed = [told[k] if k in deferred else Told(said[k]) for k in range(count)]
        pairs = zip(mixed, records, strict=True)
        return Row(
            deferred=rate,
            draft=draft,
            alpha=alpha,
            exact_match=sum(one.answer.text in record.references for one, record in pairs) / count,
            written=sum(one.written for one in mixed) / whole,
            passes=sum(one.passes for one in mixed) / count,
            lent=sum(one.answer.lenient or 0 for one in mixed)
            / sum(len(one.answer.logprobs) for one in mixed),
        )

    rows = [row(rate, alone, None, None) for rate in (0.0, *RATES)]
    ways = [(None, 0.0), *((rule, alpha) for rule in RULES for alpha in ALPHAS)]
    with progress_bar("large") as tick:
        for number, (rule, alpha) in enumerate(ways):
            drafts = [draft_of(answer, rule, alpha) for answer in said]
            told = [large.ask(*one) for one in zip(queries, drafts, strict=True)]
            if rule is None:
                check_equal(told, alone)
                rows += [row(rate, told, "exact", None) for rate in RATES]
            else:
                name = pb.AcceptanceRule.Name(rule).removeprefix("ACCEPTANCE_RULE_").lower()
                rows += [row(rate, told, name, alpha) for rate in RATES]
            tick(number + 1, len(ways))
    return rows


def check_equal(told: Sequence[Told], alone: Sequence[Told]) -> None:
    """End where an exact draft changed an answer."""
    for one, other in zip(told, alone, strict=True):
        if one.answer.chosen_ids != other.answer.chosen_ids:
            raise SystemExit("an exact draft changed an answer")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    every = list(make_records("valid", load_pronunciations()))
    drawn = np.random.default_rng(options.seed).permutation(len(every))[: options.queries]
    records = [every[k] for k in drawn]
    rows = measure(records)
    if options.json:
        print(
            json.dumps(
                {
                    "split": "validation",
                    "queries": len(records),
                    "seed": options.seed,
                    "rows": [asdict(row) for row in rows],
                },
                indent=2,
            )
        )
        return
    title = f"{len(records)} validation queries, seed {options.seed}"
    table = Table("deferred", "draft", "alpha", "exact", "written", "passes", "lent", title=title)
    for row in rows:
        table.add_row(
            f"{row.deferred:.0%}",
            row.draft or "",
            "" if row.alpha is None else f"{row.alpha:g}",
            f"{row.exact_match:.1%}",
            f"{row.written:.0%}",
            f"{row.passes:.2f}",
            f"{row.lent:.1%}",
        )
    console = result_console()
    console.print(table)
    alone = next(row.exact_match for row in rows if row.deferred == 1)
    low, high = wilson_interval(alone, len(records))
    console.print(f"95 % interval of a share near the large model's: {low:.1%} to {high:.1%}")


if __name__ == "__main__":
    main()
