"""How many members a query is put to: what the device does live is what virtual time counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge import Cascade, EdgeClient
from escalade.edge.base import Record
from escalade.edge.calibration.gates.columns import column_of
from escalade.edge.deferral import Gate, agreement_named
from escalade.edge.shadow import record_trace
from escalade.edge.tiers import EnsembleTier, Member
from escalade.edge.trace import Trace, flops_of, read_trace
from escalade.simulator.recorded import climb, flops, tiers_of

RECORDS = [
    Record(id=str(k), task="g2p", prompt=f"g2p: {word}", references=["x"])
    for k, word in enumerate(("cat", "dog", "banana", "zebra", "apple", "cascade", "a"))
]
RULES = ("vote", "mean-score", "similarity:edit")
WEIGHTS = ((1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (0.5, 1.0, 0.7))
ORDERS = ((0, 1, 2), (2, 0, 1), (3, 2, 4))
#: None: without one.
TAUS = (None, 0.0, 0.2, 1 / 3, 0.5, 0.9, 2.0)


def tier_of(
    five: Sequence[Member], name: str, order: Sequence[int], weights: Sequence[float]
) -> EnsembleTier:
    return EnsembleTier(
        [
            Member(five[place].artifact, weight=weight)
            for place, weight in zip(order, weights, strict=True)
        ],
        name=name,
    )


def whole_of(cascade: tuple[tuple[EnsembleTier, Gate | None], ...]) -> Trace:
    """What all members say to all queries."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        record_trace(client_of(cascade), RECORDS, path)
        return read_trace(path)


def client_of(cascade: Sequence[tuple[EnsembleTier, Gate | None]]) -> EdgeClient:
    tiers, gates = zip(*cascade, strict=True)
    return EdgeClient(Cascade(tiers=list(tiers), gates=list(gates)))


def check(cascade: tuple[tuple[EnsembleTier, Gate | None], ...]) -> list[int]:
    """Ask live and replay; returns how many members the last tier asks of each query."""
    trace, live = whole_of(cascade), client_of(cascade)
    tiers = tiers_of(trace)
    taus = [gate.threshold for _, gate in cascade[:-1] if gate is not None]
    up = climb(tiers, [tau for tau in taus if tau is not None])
    spent = up.spent([tier.at_levels(flops) for tier in tiers])
    found = []
    for k, record in enumerate(RECORDS):
        answer = live.ask(record.prompt)
        for tier, said, came, level in zip(
            tiers, answer.tiers, up.reached[:, k], up.levels, strict=True
        ):
            asked = 0 if said is None else len(said.members)
            assert asked == (tier.asked[level][k] if came else 0)
        assert answer.answered_by == up.answered_by[k]
        assert spent[k] == sum(
            flops_of(one, tier.info.members[one.member])
            for tier, said in zip(tiers, answer.tiers, strict=True)
            if said is not None
            for one in said.members
        )
        last = answer.tiers[-1]
        found.append(0 if last is None else len(last.members))
    # And calibration counts its last tier by the same.
    gate, info = cascade[-1][1], trace.header.tiers[-1]
    answers = [said for record in trace.records if (said := record.tiers[-1]) is not None]
    column = column_of(info, gate, answers, [["x"]] * len(answers), "flops", last=True)
    np.testing.assert_array_equal(column.costs, tiers[-1].at_levels(flops))
    return found


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(RULES),
    st.sampled_from(ORDERS),
    st.sampled_from(WEIGHTS),
    st.sampled_from(TAUS),
)
def test_an_only_tier(
    five: list[Member],
    rule: str,
    order: tuple[int, ...],
    weights: tuple[float, ...],
    tau: float | None,
) -> None:
    gate = Gate(rule=agreement_named(rule), threshold=tau)
    check(((tier_of(five, "only", order, weights), gate),))


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(RULES),
    st.sampled_from(TAUS[1:]),
    st.sampled_from((*RULES, None)),
    st.sampled_from(WEIGHTS),
    st.sampled_from(TAUS),
)
def test_a_tier_and_a_last_one(
    five: list[Member],
    rule: str,
    tau: float,
    last_rule: str | None,
    weights: tuple[float, ...],
    last_tau: float | None,
) -> None:
    """A last tier may have no gate at all, one for its rule alone, or one with a threshold."""
    last = None
    if last_rule is not None:
        last = Gate(rule=agreement_named(last_rule), threshold=last_tau)
    check(
        (
            (
                tier_of(five, "first", (2, 4), weights[:2]),
                Gate(rule=agreement_named(rule), threshold=tau),
            ),
            (tier_of(five, "last", (0, 1, 3), (1.0, 1.0, 1.0)), last),
        )
    )


@pytest.mark.parametrize("rule", RULES)
def test_without_a_threshold_the_winner_is_enough(five: list[Member], rule: str) -> None:
    """Two that always agree, of three: no more than the decision takes (design.md)."""
    only = tier_of(five, "only", (0, 1, 2), (1.0, 1.0, 1.0))
    gate = Gate(rule=agreement_named(rule), threshold=None)
    assert set(check(((only, gate),))) == {2}
