"""What the study says in sentences; knows no table and no figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.study_online.report.means import Found, Mean, Pair
from benchmarks.study_online.report.paper import TABLE


def findings(pair: Pair, found: Found) -> list[str]:
    """The cascade beside the paper's, and how little of the expert gives the expert's accuracy."""
    alone = found.get("linear", {}).get("expert", [None])[0]
    lines = []
    for levels, rows in found.items():
        named = f"{pair.title}, `{levels}`"
        lines += _against_paper(named, pair, rows)
        lines += _encoder_alone(named, pair, rows)
        if alone is not None and any(rows.get("cascade", ())):
            lines.append(_against_expert(named, rows, alone))
    return lines


def _against_paper(named: str, pair: Pair, rows: Mapping[str, Sequence[Mean | None]]) -> list[str]:
    paper = TABLE[pair.stream.name, pair.expert]["cascade"]
    against = [
        f"{mean.accuracy - theirs:+.1f} with {mean.calls:,.0f} for {budget:,}"
        for mean, theirs, budget in zip(
            rows.get("cascade", ()), paper.accuracy, pair.stream.budgets, strict=False
        )
        if mean is not None
    ]
    points = ", ".join(against)
    return [f"- {named}: points against the paper's cascade: {points} calls."] if against else []


def _encoder_alone(named: str, pair: Pair, rows: Mapping[str, Sequence[Mean | None]]) -> list[str]:
    """What keeps the cascade below the paper's, where it is: its encoder."""
    means = [mean for mean in rows.get("distilled encoder", ()) if mean is not None]
    if len(means) < len(pair.stream.budgets):
        return []
    ours = ", ".join(f"{mean.accuracy:.1f}" for mean in means)
    theirs = ", ".join(
        f"{one:.1f}" for one in TABLE[pair.stream.name, pair.expert]["distilled encoder"].accuracy
    )
    return [
        f"- {named}: its encoder by itself, taught as many labels, is right on {ours}; the paper's"
        f" BERT-base, five times as large and all of it fine-tuned, on {theirs}."
    ]


def _against_expert(named: str, rows: Mapping[str, Sequence[Mean | None]], alone: Mean) -> str:
    cascade = [mean for mean in rows.get("cascade", ()) if mean is not None]
    enough = [mean for mean in cascade if mean.accuracy >= alone.accuracy]
    if not enough:
        return f"- {named}: at no budget the expert's accuracy."
    least = min(enough, key=lambda mean: mean.calls)
    saved = 100 * (1 - least.calls / alone.calls)
    recall = ""
    if least.recall is not None and alone.recall is not None:
        recall = f", but recall {least.recall:.1f} where the expert has {alone.recall:.1f}"
    return (
        f"- {named}: the expert's accuracy with {saved:.0f} % of its calls saved"
        f" ({least.accuracy:.1f}, expert {alone.accuracy:.1f}){recall}."
    )
