"""Outages in virtual time against the edge's own client: who answers, when, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from virtual_clock import VirtualClock

from escalade.edge import Cascade, EdgeClient, Query
from escalade.edge.deferral import Gate, mean_nll
from escalade.edge.errors import CloudError
from escalade.edge.generation import Delta
from escalade.edge.outbox import Entry, OutboxOptions
from escalade.edge.tiers import Call, Member, Prompts, Said
from escalade.edge.tiers.tier import Source
from escalade.edge.trace import MemberCall, MemberInfo, Place, TierAnswer, TierInfo, Trace
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network
from escalade.simulator.network.profiles import Chance, Profile, get_profile
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Course, Replay
from escalade.simulator.replay.setting import Setting
from escalade.simulator.replay.simulation import run_simulation
from escalade.simulator.replay.tables import degraded_tables

LIFTS = Profile(
    name="lifts", rtt_ms=50, outages=(Chance(every_s=20, lasts_s=8),), source="made up"
)  # fmt: skip
DEADLINE_S = 2.5


class RecordedTier:
    """A tier of the edge's that says what a trace has, in as many seconds as virtual time has."""

    side_by_side = False
    opened: Sequence[Member] = ()

    def __init__(
        self, info: TierInfo, answers: dict[str, tuple[TierAnswer, float]], clock: VirtualClock
    ) -> None:
        self.name, self._members = info.name, info.members
        self.place: Place = info.place
        self.deadline_s = 0.0 if info.place == "device" else DEADLINE_S
        self.up = False
        self._answers, self._clock = answers, clock

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        return self._members

    def check(self, prompts: Prompts) -> None:
        """Takes all."""

    def ask(self, call: Call) -> Generator[Delta, None, Said | None]:
        yield from ()
        answer, seconds = self._answers[call.query.text]
        if self.deadline_s and seconds > self.deadline_s and not self.up:
            self._clock.sleep_s(self.deadline_s)
            raise CloudError("DEADLINE_EXCEEDED", "no answer", cause="link")
        self._clock.sleep_s(seconds)
        gate = call.gate
        defers = gate is not None and answer.score is not None and gate.defers(answer.score)
        return Said(answer, defers, "end", Source("m", "", "", [], []))

    def close(self) -> None:
        """Holds nothing."""


def replayed(trace: Trace, taus: list[float], deadline_s: float = DEADLINE_S) -> Replay:
    setting = Setting(deadline_s=deadline_s)
    (course,) = Course.of(tiers_of(trace), [Network(LIFTS)], seed=2, setting=setting)
    return Replay.of(course, taus)


def test_the_edges_client_ends_as_virtual_time_says(
    make_cascade: Callable[..., Trace], tmp_path: Path
) -> None:
    """Three tiers, two of them over links that are away for 8 of 20 s: real run, real outbox."""
    taus = [0.3, 0.6]
    trace = make_cascade([1, 1, 1], 150, linked=[False, True, True], thresholds=taus)
    run = replayed(trace, taus)
    clock, infos = VirtualClock(), trace.header.tiers
    tiers = [
        RecordedTier(
            info,
            {
                record.prompt: (answer, float(run.course.waits_s[k][0][q]))
                for q, record in enumerate(trace.records)
                if (answer := record.tiers[k]) is not None
            },
            clock,
        )
        for k, info in enumerate(infos)
    ]
    gates = [*(Gate(rule=mean_nll, threshold=tau) for tau in taus), None]
    kept = OutboxOptions(tmp_path / "outbox.sqlite", "here", 1000)
    client = EdgeClient(Cascade(tiers=tiers, gates=gates, clock=clock, outbox=kept))
    late: list[Entry] = []
    try:
        for q, record in enumerate(trace.records):
            answer = client.ask(Query(text=record.prompt, request_id=record.id))
            assert answer.answered_by == run.answered_by[q]
            assert (answer.outcome == "degraded") == run.climb.degraded[q]
            assert bool(answer.kept) == run.climb.degraded[q]
            assert answer.total_s == pytest.approx(run.cascade_s[q])
        assert client.outbox is not None
        for entry in client.outbox.entries():
            q = int(entry.id[1:])
            assert entry.tier == infos[run.climb.kept_for[q]].name
        for tier in tiers:
            tier.up = True
        client.flush(late.append)
    finally:
        client.close()
    degraded = np.flatnonzero(run.climb.degraded)
    assert [entry.id for entry in late] == [f"q{q}" for q in degraded]
    by = [infos[run.climb.late_by[q]].name for q in degraded]
    assert [entry.answered_by for entry in late] == by
    # All of it has happened: tiers passed over, answers late from either tier.
    assert len(set(by)) == 2
    passed_over = run.climb.silent & run.climb.reached & ~run.climb.degraded
    assert passed_over[1].any()


def test_a_late_answer_comes_when_the_call_would_have(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.9] * 200, [False] * 200, [True] * 200)
    run, patient = replayed(trace, [0.5]), replayed(trace, [0.5], math.inf)
    degraded = run.climb.degraded
    assert 0.2 < degraded.mean() < 0.5
    np.testing.assert_array_equal(degraded, run.course.last_only_lost)
    np.testing.assert_allclose(run.late_s, patient.cascade_s)
    np.testing.assert_array_equal(run.cascade_s[~degraded], patient.cascade_s[~degraded])
    np.testing.assert_allclose(run.cascade_s[degraded], run.course.seconds[0][0][degraded] + 2.5)
    assert run.course.last_only_s.max() == 2.5
    assert run.accuracy == pytest.approx(1 - degraded.mean())
    assert (run.late_accuracy, patient.climb.degraded.any()) == (1.0, False)
    assert not patient.course.last_only_lost.any()


def test_a_simulation_counts_what_is_degraded_and_late(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.9, 0.1] * 100, [False] * 200, [True] * 200)
    networks = [Network(get_profile("lte")), Network(LIFTS)]
    setting = Setting(deadline_s=DEADLINE_S)
    summary = run_simulation({"t": trace}, networks, [], seed=2, setting=setting).summary
    calm, lifts = (row.degraded for row in summary.networks)
    assert calm is not None
    assert lifts is not None
    assert (calm.share, calm.late, calm.last_only_lost) == (0.0, None, 0.0)
    assert lifts.late_accuracy == calm.accuracy == summary.points[0].accuracy == 0.5
    assert lifts.accuracy == pytest.approx(0.5 - lifts.share)
    assert lifts.late is not None
    assert lifts.late.p50_s > DEADLINE_S
    (table,) = degraded_tables(summary)
    assert [row[0].text for row in table.rows] == ["lte", "lifts"]
    plain = run_simulation({"t": trace}, networks, [], seed=2).summary
    assert degraded_tables(plain) == []


def test_what_a_deadline_cannot_be_replayed_of_is_named(make_cascade: Callable[..., Trace]) -> None:
    with pytest.raises(SimulatorError, match="deadline_s must be above 0; got 0"):
        Setting(deadline_s=0.0)
    elsewhere = make_cascade([1, 1], 5, linked=[True, True])
    with pytest.raises(SimulatorError, match="first tier that always answers, .* 'tier0'"):
        replayed(elsewhere, [0.5])
    made = make_cascade([1, 1], 5, linked=[False, True])
    panel = [_by_members(record.tiers[1]) for record in made.records]
    records = [
        replace(one, tiers=[one.tiers[0], above])
        for one, above in zip(made.records, panel, strict=True)
    ]
    with pytest.raises(SimulatorError, match="tier 'tier1' has members elsewhere"):
        replayed(Trace(made.header, records), [0.5])


def _by_members(answer: TierAnswer | None) -> TierAnswer:
    assert answer is not None
    assert answer.link is not None
    members = [replace(answer.members[0], call=MemberCall(link=answer.link))]
    return replace(answer, link=None, members=members)
