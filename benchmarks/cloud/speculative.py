"""Speculative cascades on the bundled models: quality against what the large one still writes.

    .venv/bin/python -m benchmarks.cloud.speculative [--queries 600] [--seed 0] [--json]

Queries of the validation split, drawn with a seed: nothing is tuned here, and the test split is
not looked at. The small model (`small-cat-xent`, float32) answers each, and its answer goes along
as the draft. Rows: each model alone; plain deferral of the queries that it is least sure of, by the
mean log-probability (CAT, equation 5), without drafts; every query deferred with its draft, exact;
and every query deferred under each acceptance rule and alpha. `written` is the share of the large
model's tokens that it still has to write one by one, against answering all alone; `passes` its
forward passes a query; `lent` the share of the answers' tokens that are not its own choice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from escalade.cli.output import progress_bar, result_console
from escalade.cli.quiet import quiet_third_party
from escalade.cloud.backends import Answer, Query
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.edge.base import Record
from escalade.edge.calibration import wilson_interval
from escalade.training.data import load_pronunciations, make_records
from escalade.v1 import cascade_pb2 as pb

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
PLAIN_RATES = (0.1, 0.25, 0.5, 0.75)
ALPHAS = (0.1, 0.3, 0.5, 0.9)
RULES = (
    pb.ACCEPTANCE_RULE_CHOW,
    pb.ACCEPTANCE_RULE_DIFF,
    pb.ACCEPTANCE_RULE_TOKEN_V2,
    pb.ACCEPTANCE_RULE_TOKEN_V3,
)


@dataclass(kw_only=True)
class Row:
    """One way to answer all queries."""

    way: str
    alpha: float | None = None
    #: Of all queries.
    exact_match: float
    #: Tokens that the large model writes, beside those that it writes when it answers all alone.
    written: float
    #: Of the large model, a query.
    passes: float
    #: Of the tokens of answers, those that stand and are not the large model's own choice.
    lent: float = 0.0


class Counted:
    """A large model whose forward passes are counted."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.passes = 0
        engine.network.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.passes += 1

    def ask(self, query: Query, draft: pb.Draft | None = None) -> Answer:
        """Its answer to a query, alone or with a draft."""
        return self.engine.generate(
            Query(query.prompt_ids, query.max_new_tokens, draft=draft), lambda: None
        )


def draft_of(answer: Answer, rule: pb.AcceptanceRule | None = None, alpha: float = 0.0) -> pb.Draft:
    """The small model's answer as a device sends it: without the end of the sequence."""
    ids = list(answer.token_ids)
    draft = pb.Draft(tokens=pb.TokenSequence(ids=ids), logprobs=answer.logprobs[: len(ids)])
    if rule is not None:
        draft.acceptance.rule, draft.acceptance.alpha = rule, alpha
    return draft


def kept(draft: pb.Draft, answer: Answer) -> int:
    """Tokens of an answer that the large model need not write: those that stand of its draft."""
    ids = draft.tokens.ids
    pairs = enumerate(zip(ids, answer.token_ids, strict=False))
    return next(
        (at for at, (one, other) in pairs if one != other), min(len(ids), len(answer.token_ids))
    )


def measure(records: Sequence[Record]) -> list[Row]:
    """Every row."""
    small = TransformersEngine.load(str(CHECKPOINTS / "small-cat-xent"), threads=1)
    large = Counted(TransformersEngine.load(str(CHECKPOINTS / "large"), threads=1))
    most = large.engine.info.max_new_tokens // 2
    queries = [Query(tuple(large.engine.encode(one.prompt)), most) for one in records]
    count = len(records)

    def right(answers: Sequence[Answer]) -> float:
        pairs = zip(answers, records, strict=True)
        return sum(answer.text in record.references for answer, record in pairs) / count

    said = [small.generate(query, lambda: None) for query in queries]
    before = large.passes
    alone = [large.ask(query) for query in queries]
    whole = sum(len(answer.logprobs) for answer in alone)
    rows = [
        Row(way="small alone", exact_match=right(said), written=0.0, passes=0.0),
        Row(
            way="large alone",
            exact_match=right(alone),
            written=1.0,
            passes=(large.passes - before) / count,
        ),
    ]
    order = sorted(range(count), key=lambda k: sum(said[k].logprobs) / len(said[k].logprobs))
    for rate in PLAIN_RATES:
        deferred = set(order[: round(rate * count)])
        mixed = [alone[k] if k in deferred else said[k] for k in range(count)]
        wrote = sum(len(alone[k].logprobs) for k in deferred)
        rows.append(
            Row(
                way=f"plain deferral of {rate:.0%}",
                exact_match=right(mixed),
                written=wrote / whole,
                passes=wrote / count,
            )
        )
    ways = [(None, 0.0), *((rule, alpha) for rule in RULES for alpha in ALPHAS)]
    with progress_bar("large") as tick:
        for number, (rule, alpha) in enumerate(ways):
            before = large.passes
            drafts = [draft_of(answer, rule, alpha) for answer in said]
            answers = [large.ask(*one) for one in zip(queries, drafts, strict=True)]
            tokens = sum(len(answer.logprobs) for answer in answers)
            wrote = tokens - sum(map(kept, drafts, answers))
            if rule is None and any(
                one.chosen_ids != other.chosen_ids
                for one, other in zip(answers, alone, strict=True)
            ):
                raise SystemExit("an exact draft changed an answer")
            name = "exact" if rule is None else pb.AcceptanceRule.Name(rule)
            rows.append(
                Row(
                    way=name.removeprefix("ACCEPTANCE_RULE_").lower(),
                    alpha=None if rule is None else alpha,
                    exact_match=right(answers),
                    written=wrote / whole,
                    passes=(large.passes - before) / count,
                    lent=sum(answer.lenient or 0 for answer in answers) / tokens,
                )
            )
            tick(number + 1, len(ways))
    return rows


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
    table = Table("answered by", "alpha", "exact", "written", "passes", "lent", title=title)
    for row in rows:
        table.add_row(
            row.way,
            "" if row.alpha is None else f"{row.alpha:g}",
            f"{row.exact_match:.1%}",
            f"{row.written:.0%}",
            f"{row.passes:.2f}",
            f"{row.lent:.1%}",
        )
    console = result_console()
    console.print(table)
    low, high = wilson_interval(rows[1].exact_match, len(records))
    console.print(f"95 % interval of a share near the large model's: {low:.1%} to {high:.1%}")


if __name__ == "__main__":
    main()
