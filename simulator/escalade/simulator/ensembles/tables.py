"""A picked ensemble as lines and tables of text; knows no terminal."""

from __future__ import annotations

from escalade.edge.base import counted
from escalade.edge.deferral import VOTE
from escalade.simulator.ensembles.picked import Picked
from escalade.simulator.evaluation import Estimate
from escalade.simulator.formats import Cell, TextTable, count, percent, three_digits, with_unit
from escalade.simulator.formats import seconds as seconds_text


def lede(picked: Picked) -> list[str]:
    """What was picked, how, and what it is worth."""
    how = "side by side" if picked.side_by_side else "one after the other"
    who = " then ".join(picked.members)
    voted, held_out = picked.voted, picked.held_out_queries
    several = len(picked.members) > 1
    bound = "no budget" if picked.budget is None else f"budget {_cost(picked.budget, picked)}"
    within = "" if picked.budget is None else " in the budget"
    lines = [
        f"picked: {who}, {how}{_by(picked)}"
        if several
        else f"picked: {who}, alone: no vote{within} is better",
        f"{picked.guarantee}; {bound}",
        f"held out ({counted(held_out, 'query', ',')}): {_share(voted.quality)} right at"
        f" {_cost(voted.cost, picked)} a query; {percent(picked.validated)} on the"
        f" {picked.validation_queries:,} it was chosen by",
        f"against {picked.best_single}, the best alone where that was chosen:"
        f" {_points(picked.gain)} points of right answers",
    ]
    if several:
        wrong = voted.wrong_when_unanimous
        agreed = f"all agree on {percent(voted.unanimous)}"
        if wrong is not None:
            agreed += f", wrongly on {percent(wrong)} of those"
        lines.append(
            f"asked {voted.asked:.2f} of {len(picked.members)}; any right {percent(voted.oracle)};"
            f" {agreed}"
        )
    lines.append(f"any right of all models given: {percent(picked.oracle_of_all)}")
    return lines


def tables_of(picked: Picked) -> list[TextTable]:
    """Each model alone, and how the picked ones differ in pairs."""
    alone = TextTable(
        "Each model alone, on held-out queries",
        ["model", "picked", "right", "cost"],
        [
            [
                Cell(one.name),
                Cell("\N{EN DASH}" if one.place is None else f"{one.place + 1}."),
                Cell(percent(one.quality.value or 0.0), _interval(one.quality)),
                Cell(_cost(one.cost, picked)),
            ]
            for one in picked.models
        ],
    )
    ours = set(picked.members)
    pairs = [pair for pair in picked.pairs if {pair.first, pair.second} <= ours]
    if not pairs:
        return [alone]
    rows = [
        [
            Cell(f"{pair.first}, {pair.second}"),
            Cell(percent(pair.disagreement)),
            Cell(percent(pair.wrong_alike)),
        ]
        for pair in pairs
    ]
    return [alone, TextTable("Picked pairs", ["pair", "disagree", "wrong alike"], rows)]


def _by(picked: Picked) -> str:
    """What they agree by, where that is not a vote of equals."""
    by = "" if picked.agreement == VOTE else f", by {picked.agreement}"
    if len(set(picked.weights)) == 1:
        return by
    return f"{by}, weights {', '.join(f'{one:g}' for one in picked.weights)}"


def _share(one: Estimate) -> str:
    return f"{percent(one.value or 0.0)} ({_interval(one)})"


def _interval(one: Estimate) -> str:
    return f"{percent(one.low or 0.0)} to {percent(one.high or 0.0)}"


def _points(one: Estimate) -> str:
    low, high = 100 * (one.low or 0.0), 100 * (one.high or 0.0)
    return f"{100 * (one.value or 0.0):+.1f} ({low:+.1f} to {high:+.1f})"


def _cost(value: float, picked: Picked) -> str:
    if picked.cost == "flops":
        return with_unit(count(value), picked.unit)
    if picked.cost == "seconds":
        return seconds_text(value)
    return f"{three_digits(value)} {picked.unit}"
