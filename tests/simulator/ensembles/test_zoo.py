"""Columns of a trace: who is in it, what is refused, and what an answer costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Trace, TraceRecord, flops_of, money_of
from escalade.simulator.ensembles import places_of, zoo_of
from escalade.simulator.errors import SimulatorError

Make = Callable[..., Trace]
PLACES = [(0, 0), (0, 1), (1, 0)]
NAMES = ["a", "b", "c"]


@pytest.fixture
def trace(make_cascade: Make) -> Trace:
    """Three models: a tier of two that vote, and one behind it."""
    return make_cascade([2, 1], 12, linked=[False, False])


def replaced(trace: Trace, place: tuple[int, int], **changes: Any) -> Trace:
    """The trace with other facts about a model."""
    k, m = place
    tiers = list(trace.header.tiers)
    members = list(tiers[k].members)
    members[m] = msgspec.structs.replace(members[m], **changes)
    tiers[k] = msgspec.structs.replace(tiers[k], members=members)
    return trace._replace(header=msgspec.structs.replace(trace.header, tiers=tiers))


def test_answers_of_any_tier_become_columns(trace: Trace) -> None:
    zoo = zoo_of(trace, PLACES, NAMES, "flops")
    assert (zoo.names, zoo.queries, zoo.unit) == (NAMES, 12, "FLOPs")
    for n, record in enumerate(trace.records):
        answers = [record.tiers[k].members[m] for k, m in PLACES]  # type: ignore[union-attr]
        infos = [trace.header.tiers[k].members[m] for k, m in PLACES]
        for a, one in enumerate(answers):
            assert zoo.right[a, n] == one.correct
            assert zoo.costs[a, n] == flops_of(one, infos[a])
            for b, other in enumerate(answers):
                assert (zoo.said[a, n] == zoo.said[b, n]) == (one.text == other.text)


def test_every_cost_is_the_traces_own(trace: Trace) -> None:
    of_seconds = zoo_of(trace, PLACES, NAMES, "seconds")
    first = trace.records[0].tiers[0].members[1]  # type: ignore[union-attr]
    assert (of_seconds.costs[1, 0], of_seconds.unit) == (first.seconds, "s")
    priced = trace
    for place in PLACES:
        priced = replaced(priced, place, prompt_price=1.0, generated_price=3.0)
    of_money = zoo_of(priced, PLACES, NAMES, "money")
    assert of_money.unit == "USD"
    assert of_money.costs[1, 0] == money_of(first, priced.header.tiers[0].members[1])


def test_side_by_side_all_are_paid_and_time_passes_once(trace: Trace) -> None:
    asked = np.ones(12, dtype=np.intp)
    for cost, of_all in (("flops", np.sum), ("seconds", np.max)):
        zoo = zoo_of(trace, PLACES, NAMES, cost, side_by_side=True)  # type: ignore[arg-type]
        np.testing.assert_array_equal(zoo.spent([2, 0], asked), of_all(zoo.costs[[2, 0]], axis=0))
    in_turn = zoo_of(trace, PLACES, NAMES, "seconds")
    np.testing.assert_array_equal(in_turn.spent([2, 0], asked), in_turn.costs[2])
    np.testing.assert_allclose(in_turn.spent([2, 0], asked * 2), in_turn.costs[[2, 0]].sum(axis=0))


def test_models_are_found_by_what_decides_their_answers(trace: Trace) -> None:
    for k, place in enumerate(PLACES):
        trace = replaced(trace, place, program_sha256=f"{k}" * 64)
    assert places_of(trace, ["2" * 64, "0" * 64], ["c", "a"]) == [(1, 0), (0, 0)]
    with pytest.raises(
        SimulatorError, match=r"model 'd' \(999999999999\) is no member of the trac"
    ):
        places_of(trace, ["9" * 64], ["d"])


def test_a_trace_in_which_one_was_not_asked_is_refused(
    trace: Trace,
    with_answer: Callable[..., TraceRecord],
    without_answer: Callable[[TraceRecord, int], TraceRecord],
) -> None:
    first = trace.records[0]
    pair = first.tiers[0]
    assert pair is not None
    stopped = msgspec.structs.replace(pair.members[1], text=None)
    for damaged, name in (
        (without_answer(first, 1), "c"),
        (with_answer(first, 0, members=pair.members[:1], stopped_early=True), "a"),
        (with_answer(first, 0, members=[pair.members[0], stopped]), "b"),
        (with_answer(first, 1, stopped_early=True), "c"),
    ):
        lacking = trace._replace(records=[damaged, *trace.records[1:]])
        says = f"model '{name}' was not asked, or not whole, 1 of 12 queries"
        with pytest.raises(SimulatorError, match=says):
            zoo_of(lacking, PLACES, NAMES, "flops")
    # Who is not among those to pick from need not have been asked.
    without = trace._replace(records=[without_answer(first, 1), *trace.records[1:]])
    assert zoo_of(without, PLACES[:2], NAMES[:2], "flops").queries == 12


def test_queries_that_nobody_can_judge_are_refused(
    trace: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    pair = trace.records[3].tiers[0]
    assert pair is not None
    members = [msgspec.structs.replace(one, correct=None) for one in pair.members]
    records = list(trace.records)
    records[3] = with_answer(records[3], 0, members=members)
    with pytest.raises(SimulatorError, match="1 of 12 queries have no references"):
        zoo_of(trace._replace(records=records), PLACES, NAMES, "flops")


def test_prices_with_holes_and_models_of_no_known_size_are_refused(trace: Trace) -> None:
    holes = trace
    for place in PLACES[:2]:
        holes = replaced(holes, place, prompt_price=0.0, generated_price=0.0)
    with pytest.raises(SimulatorError, match="the price of 'a', 'b' is missing"):
        zoo_of(holes, [*PLACES[:2]], NAMES[:2], "money")
    with pytest.raises(SimulatorError, match="parameters must be >= 1; got 0"):
        zoo_of(replaced(trace, (0, 1), parameters=0), PLACES, NAMES, "flops")


def test_one_model_or_the_same_twice_is_refused(trace: Trace) -> None:
    with pytest.raises(SimulatorError, match="must be at least 2; got 1"):
        zoo_of(trace, PLACES[:1], NAMES[:1], "flops")
    for place in ((0, 0), (1, 0)):
        trace = replaced(trace, place, program_sha256="5" * 64)
    with pytest.raises(SimulatorError, match="'a' and 'c' are the same by content"):
        zoo_of(trace, PLACES, NAMES, "flops")
