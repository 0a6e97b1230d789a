"""Which queries can be replayed: half answers are refused by everything that would judge them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import msgspec
import pytest

from escalade.edge.trace import Hop, MemberCall, Trace, TraceRecord
from escalade.simulator.curves.split import split_at
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded.shadow import answered
from escalade.simulator.recorded.shorter import up_to_tier
from escalade.simulator.recorded.tiers import tiers_of


@pytest.mark.parametrize("look", [tiers_of, split_at, lambda trace: answered("t", trace, [])])
@pytest.mark.parametrize("tier", [0, 1])
def test_half_answers_are_refused_and_counted(
    make_trace: Callable[..., Trace],
    with_answer: Callable[..., TraceRecord],
    look: Callable[[Trace], object],
    tier: int,
) -> None:
    trace = make_trace([0.1, 0.2, 0.9], [True, True, False], [True, True, True])
    look(trace)
    half = with_answer(trace.records[2], tier, stopped_early=True)
    cut = Trace(trace.header, [*trace.records[:2], half])
    with pytest.raises(SimulatorError, match="1 of 3 of the device's answers were not finished"):
        look(cut)


def test_queries_that_some_tier_did_not_answer_are_left_out_and_counted(
    make_cascade: Callable[..., Trace], without_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_cascade([1, 1, 1], 5)
    whole = [*trace.records]
    notes: list[str] = []
    assert answered("t", trace, notes) is trace
    records = [without_answer(whole[0], 2), whole[1], without_answer(whole[2], 1), *whole[3:]]
    assert answered("t", Trace(trace.header, records), notes).records == [whole[1], *whole[3:]]
    assert notes == [
        "t: 2 of 5 queries have no answer from tier 'tier1' or tier 'tier2' and are left out;"
        " --up-to tier1 keeps 4 of 5"
    ]
    answered("t", Trace(trace.header, records), notes, shortens=False)
    assert notes[1].endswith(" and are left out")
    # Where that is all, there is nothing to leave in: what needs the answers says so.
    none = Trace(trace.header, [without_answer(record, 1) for record in whole])
    assert answered("t", none, notes) is none
    with pytest.raises(SimulatorError, match="no query has an answer from tier 'tier1': "):
        tiers_of(none)
    with pytest.raises(SimulatorError, match="1 of 5 records lack the answer of tier 'tier1'"):
        tiers_of(Trace(trace.header, [without_answer(whole[0], 1), *whole[1:]]))


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ([[3]], "no query has an answer from tier 'tier3': the trace serves sweeps of 'tier0',"
        " 'tier1' and 'tier2' alone; --up-to tier2 keeps 6 of 6 (of `simulate`, `plan` and"
        " `evaluate`)"),
        ([[2]], "no query has an answer from tier 'tier2': the trace serves sweeps of 'tier0' and"
        " 'tier1' alone; --up-to tier1 keeps 6 of 6 (of"),
        ([[2, 3]], "from tier 'tier2' or tier 'tier3': the trace serves sweeps of 'tier0' and"),
        ([[1]], "from tier 'tier1': the trace serves no sweep; record one with `escalade record`"),
        ([[0]], "from tier 'tier0': the trace serves no sweep; "),
        # Of each tier there are some, and of all nobody has.
        ([[2], [3]], "from each of 'tier0', 'tier1', 'tier2' and 'tier3': the trace serves sweeps"
        " of 'tier0', 'tier1' and 'tier2' alone; --up-to tier2 keeps 3, --up-to tier1 keeps 6"
        " of 6 "),
        ([[1], [0, 3]], "'tier3': the trace serves no sweep; "),
    ],
)  # fmt: skip
def test_a_trace_that_no_query_is_whole_of_says_which_sweep_it_serves(
    make_cascade: Callable[..., Trace],
    without_answer: Callable[..., TraceRecord],
    lacking: list[list[int]],
    says: str,
) -> None:
    trace = make_cascade([1, 1, 1, 1], 6)
    records = []
    for k, record in enumerate(trace.records):
        records.append(reduce(without_answer, lacking[k % len(lacking)], record))
    with pytest.raises(SimulatorError) as refusal:
        tiers_of(Trace(trace.header, records))
    assert says in str(refusal.value)
    # And it does serve that sweep.
    if "--up-to" in says:
        cut = up_to_tier(Trace(trace.header, records), str(refusal.value).split("--up-to ")[1][:5])
        tiers = tiers_of(answered("t", cut, []))
        assert f"keeps {len(tiers[0].score)}" in says


def test_a_live_log_says_that_it_serves_a_sweep_of_what_was_sent_on(
    make_trace: Callable[..., Trace], without_answer: Callable[..., TraceRecord]
) -> None:
    trace = make_trace([0.1, 0.9, 0.2, 0.8], [True] * 4, [True] * 4)
    logged = [
        record
        if record.answered_by == 1
        else msgspec.structs.replace(without_answer(record, 1), outcome="answered")
        for record in trace.records
    ]
    notes: list[str] = []
    assert len(answered("t", Trace(trace.header, logged), notes).records) == 2
    assert notes == [
        "t: 2 of 4 queries have no answer from tier 'cloud' and are left out",
        "t: it has no whole record of a query kept below: every sweep is of those sent on alone,"
        " and its calls are too many (`escalade record` asks every tier)",
    ]
    # One that was kept, and that the last tier answered: the trace was made by `record`.
    notes.clear()
    answered("t", Trace(trace.header, [*logged[:2], trace.records[2], logged[3]]), notes)
    assert len(notes) == 1


@pytest.mark.parametrize("value", [-1.0, 1e308, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused_by_the_query(
    make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord], value: float
) -> None:
    trace = make_trace([0.1, 0.2], [True, True], [True, True])
    first, second = trace.records
    (member,) = second.tiers[1].members  # type: ignore[union-attr]
    assert second.tiers[1].link is not None  # type: ignore[union-attr]
    link = msgspec.structs.replace(second.tiers[1].link, server_s=value)  # type: ignore[union-attr]
    for wrong in (
        msgspec.structs.replace(second, total_s=value),
        with_answer(second, 0, seconds=value),
        with_answer(second, 1, members=[msgspec.structs.replace(member, seconds=value)]),
        with_answer(second, 1, members=[msgspec.structs.replace(member, drafted_s=value)]),
        with_answer(second, 1, link=link),
        with_answer(second, 1, hops=[Hop(tier="far", place="cloud", model="m", seconds=value)]),
        with_answer(
            second,
            1,
            link=None,
            members=[msgspec.structs.replace(member, call=MemberCall(link=link))],
        ),
    ):
        with pytest.raises(SimulatorError) as refusal:
            tiers_of(Trace(trace.header, [first, wrong]))
        assert str(refusal.value) == f"record 'q1': seconds must be in [0, 1e+06]; got {value:g}"
