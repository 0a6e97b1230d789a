"""A trace cut above a tier: the same as one that was recorded of the shorter cascade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.trace import Trace, TraceRecord, write_trace
from escalade.edge.trace.files import check_record
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network, get_profile
from escalade.simulator.recorded import read_sample
from escalade.simulator.recorded.shorter import up_to_tier
from escalade.simulator.replay.simulation import run_simulation, simulate
from escalade.simulator.replay.summary import Summary

NETWORKS = [Network(get_profile("lte")), Network(get_profile("3g"))]


def _recorded_shorter(trace: Trace) -> Trace:
    """What `escalade record` had written of a cascade without the last tier, made by hand.

    Who waited for whom is as in the whole trace: k/100 seconds are the caller's own.
    """
    *lower, last = trace.header.tiers[:-1]
    voted = last.rule if len(last.members) > 1 else None
    tiers = [*lower, msgspec.structs.replace(last, rule=voted, threshold=None)]
    records = []
    for k, record in enumerate(trace.records):
        said = record.tiers[:-1]
        records.append(
            TraceRecord(
                id=record.id,
                task=record.task,
                prompt=record.prompt,
                references=record.references,
                tiers=said,
                answered_by=len(said) - 1,
                outcome="deferred",
                total_s=sum(one.seconds for one in said if one is not None) + k / 100,
            )
        )
    return Trace(msgspec.structs.replace(trace.header, tiers=tiers), records)


def _numbers(value: object) -> list[object]:
    """Everything in a summary, in order; numbers to their last bits but three."""
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in (key, *_numbers(inner))]
    if isinstance(value, list):
        return [one for inner in value for one in _numbers(inner)]
    return [float(f"{value:.12g}")] if isinstance(value, float) else [value]


def _summary(trace: Trace) -> Summary:
    thresholds = [(0.1,) * (len(trace.header.tiers) - 1), (0.6,) * (len(trace.header.tiers) - 1)]
    return run_simulation({"t": trace}, NETWORKS, thresholds, seed=1).summary


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    members=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    at_once=st.booleans(),
    linked=st.booleans(),
)
def test_a_replay_up_to_a_tier_is_that_of_a_cascade_that_ends_there(
    make_cascade: Callable[..., Trace],
    seed: int,
    members: tuple[int, int, int],
    at_once: bool,
    linked: bool,
) -> None:
    whole = make_cascade(
        members,
        12,
        seed=seed,
        linked=[False, linked, True],
        side_by_side=[at_once, at_once and not linked, False],
    )
    cut = up_to_tier(whole, "tier1")
    assert _numbers(msgspec.to_builtins(_summary(cut))) == _numbers(
        msgspec.to_builtins(_summary(_recorded_shorter(whole)))
    )


def test_simulate_reads_files_up_to_a_tier(
    make_cascade: Callable[..., Trace], tmp_path: Path
) -> None:
    whole = make_cascade([2, 1, 1], 20, linked=[False, True, True])
    path = tmp_path / "t.jsonl"
    write_trace(path, whole.header, whole.records)
    found = simulate([path], ["lte", "3g"], [(0.1,), (0.6,)], up_to="tier1", seed=1).summary
    assert found == _summary(up_to_tier(whole, "tier1"))
    for up_to in (None, "tier2"):
        assert read_sample(path, 20, 1, [], up_to=up_to) == whole


def test_who_stands_and_what_was_waited_for_is_of_the_tiers_that_are_left(
    make_cascade: Callable[..., Trace], with_answer: Callable[..., TraceRecord]
) -> None:
    header, (first, *_) = make_cascade([1, 1, 1], 1)
    for k in range(3):
        first = with_answer(first, k, seconds=0.25 * 2**k)
    low, middle, high = first.tiers

    def cut(tiers: list[object], by: int, outcome: str, total_s: float) -> tuple[object, ...]:
        record = msgspec.structs.replace(
            first, tiers=tiers, answered_by=by, outcome=outcome, total_s=total_s, reason="late"
        )
        trace = up_to_tier(Trace(header, [record]), "tier1")
        (one,) = trace.records
        if any(one.tiers):
            check_record(one, trace.header)
        return one.answered_by, one.outcome, one.total_s, one.reason

    # Kept below: nothing changes. Sent on to the top: it ends a tier lower, by so many seconds.
    assert cut([low, middle, high], 0, "answered", 0.5) == (0, "answered", 0.5, "late")
    assert cut([low, middle, high], 1, "deferred", 0.9) == (1, "deferred", 0.9, "late")
    assert cut([low, middle, high], 2, "deferred", 2.0) == (1, "deferred", 1.0, None)
    # The top was out of reach: nobody is degraded now, or waits for it.
    assert cut([low, middle, None], 1, "degraded", 9.0) == (1, "deferred", 0.75, None)
    # A gateway that answered below what it should is as degraded as it was.
    assert cut([low, middle, high], 1, "degraded", 0.9) == (1, "degraded", 0.9, "late")
    # The one that is the last now was out of reach.
    assert cut([low, None, high], 2, "deferred", 9.0) == (0, "degraded", 8.0, "late")
    assert cut([low, None, None], 0, "degraded", 9.0) == (0, "degraded", 9.0, "late")
    assert cut([None, None, high], 2, "deferred", 1.0)[:2] == (0, "degraded")
    with pytest.raises(SimulatorError) as refusal:
        up_to_tier(Trace(header, [first]), "tire1")
    assert str(refusal.value) == (
        "--up-to must be one of tier1, tier2; got 'tire1'; did you mean 'tier1'?"
    )
    with pytest.raises(SimulatorError, match=r"got 'tier0'.* \(the first, whose gate would be"):
        up_to_tier(Trace(header, [first]), "tier0")
