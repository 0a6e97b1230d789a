"""The curve of a gate of many tiers, against a plain loop over the queries."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from votes import is_decided, is_settled

from escalade.edge.deferral import defers
from escalade.edge.trace import TierAnswer, TierInfo, Trace
from escalade.simulator.curves.curves import deferral_curve
from escalade.simulator.curves.split import split_at
from escalade.simulator.errors import SimulatorError


def price(answer: TierAnswer, info: TierInfo, threshold: float | None) -> float:
    """Of the members that a tier asks; None: it has no gate."""
    texts = [member.text for member in answer.members]
    asked = len(texts)
    if answer.link is None and asked > 1 and not info.side_by_side:
        asked = 1
        while not (
            is_settled(texts[:asked], len(texts))
            if threshold is None
            else is_decided(texts[:asked], len(texts), threshold)
        ):
            asked += 1
    return sum(
        one.prompt_tokens * model.prompt_price + one.generated_tokens * model.generated_price
        for one, model in zip(answer.members[:asked], info.members, strict=False)
    ) / 1e6  # fmt: skip


def by_hand(trace: Trace, place: int, tau: float) -> list[tuple[bool, bool, float]]:
    """Of each query that comes to the gate: whether it defers, whether it is right, its cost."""
    infos = trace.header.tiers
    taus = [tau if k == place else info.threshold for k, info in enumerate(infos)]
    found = []
    for record in trace.records:
        at, cost = 0, 0.0
        while True:
            answer, info = record.tiers[at], infos[at]
            if at >= place:
                cost += price(answer, info, taus[at])
            if at == len(infos) - 1 or not defers(answer.score, taus[at]):
                break
            at += 1
        if at >= place:
            found.append((at > place, bool(answer.correct), cost))
    return found


@settings(max_examples=30, deadline=None)
@given(
    members=st.lists(st.integers(1, 3), min_size=2, max_size=4),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_curve_of_a_gate_is_the_plain_sweep_with_other_gates_as_recorded(
    make_cascade: Callable[..., Trace], members: list[int], seed: int, data: st.DataObject
) -> None:
    tiers = len(members)
    each = st.lists(st.booleans(), min_size=tiers, max_size=tiers)
    taus = st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.75]), min_size=tiers - 1, max_size=tiers - 1)
    trace = make_cascade(
        members,
        30,
        seed=seed,
        linked=[False, *data.draw(each)[1:]],
        side_by_side=data.draw(each),
        thresholds=data.draw(taus),
    )
    place = data.draw(st.integers(0, tiers - 2))
    if not by_hand(trace, place, 0.5):
        with pytest.raises(SimulatorError, match="no query comes to the gate after tier"):
            split_at(trace, f"tier{place}")
        return
    curve = deferral_curve(trace, gate=f"tier{place}", cost="money")
    for k, tau in enumerate(curve.threshold):
        deferred, right, cost = zip(*by_hand(trace, place, tau), strict=True)
        assert curve.deferral_rate[k] == pytest.approx(np.mean(deferred))
        assert curve.quality[k] == pytest.approx(np.mean(right))
        assert curve.cost[k] == pytest.approx(np.mean(cost))


def test_above_the_gate_all_is_one_large_model_with_its_real_cost(
    make_cascade: Callable[..., Trace],
) -> None:
    trace = make_cascade([1, 1, 1], 100, thresholds=[0.5, 0.75])
    split = split_at(trace)
    ends = [1 if record.tiers[1].score < 0.75 else 2 for record in trace.records]
    assert set(ends) == {1, 2}
    expected = [record.tiers[end] for record, end in zip(trace.records, ends, strict=True)]
    assert split.large_answers == expected
    assert split.records == trace.records
    # A deferral counts once, whoever answers in the end.
    assert deferral_curve(trace, cost="deferral_rate").cost[-1] == 1.0


def test_gates_that_are_not_there_are_named(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 1, 1], 5)
    with pytest.raises(SimulatorError, match=r"gate must be one of tier0, tier1; got 'teir1'; did"):
        split_at(trace, "teir1")
    with pytest.raises(SimulatorError, match=r"got 'tier2'.*\(the last, which has no gate\)"):
        split_at(trace, "tier2")
    with pytest.raises(SimulatorError, match="at least 2 tiers; it has 1: tier0"):
        split_at(make_cascade([2], 5, linked=[False]))


def test_only_the_gates_own_threshold_may_be_missing(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 1, 1], 30)
    infos = trace.header.tiers
    bare = [infos[0], msgspec.structs.replace(infos[1], threshold=None), infos[2]]
    trace = trace._replace(header=msgspec.structs.replace(trace.header, tiers=bare))
    assert deferral_curve(trace, gate="tier1").threshold[0] == math.inf
    with pytest.raises(SimulatorError, match="after tier 'tier1' was recorded without a threshold"):
        deferral_curve(trace, gate="tier0")
