"""A policy in a replay: what it keeps is answered by the device, and takes nothing of a link."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.errors import CascadeError
from escalade.edge.policy import ContentPolicy, PolicyTable
from escalade.edge.trace import Trace
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.recorded import climb, tiers_of
from escalade.simulator.replay import keeping_of
from escalade.simulator.replay.replay import Replay, replay
from escalade.simulator.replay.setting import Setting, kept_in
from escalade.simulator.replay.setting.keeping import Keeping
from escalade.simulator.replay.simulation import run_simulation
from escalade.simulator.replay.steps import gate_curve, steps_of

NETWORK = Network(get_profile("coe-100ms"))


def with_prompts(trace: Trace, *prompts: str) -> Trace:
    records = [
        msgspec.structs.replace(record, prompt=prompt)
        for record, prompt in zip(trace.records, prompts, strict=True)
    ]
    return Trace(trace.header, records)


@pytest.fixture
def three(make_trace: Callable[..., Trace]) -> Trace:
    """The first and the last are due; the first holds a secret."""
    made = make_trace([0.9, 0.1, 0.5], [False, True, False], [True, True, False])
    return with_prompts(made, "a secret", "plain", "plain")


def run(trace: Trace, keeping: Keeping | None) -> Replay:
    return replay(trace, NETWORK, [0.5], setting=Setting(keeping=keeping), seed=0)


SECRETS = Keeping(ContentPolicy(PolicyTable(stay_patterns=["secret"])))


def test_what_stays_is_the_devices_by_hand(three: Trace) -> None:
    kept, plain = run(three, SECRETS), run(three, None)
    assert (plain.answered_by.tolist(), kept.answered_by.tolist()) == ([1, 0, 1], [0, 0, 1])
    assert kept.climb.stays.tolist() == [True, False, False]
    np.testing.assert_allclose(kept.cascade_s, [0.010, 0.011, 0.012 + 0.127])
    assert (plain.calls, kept.calls) == (2, 1)
    assert kept.bytes_up[1] < plain.bytes_up[1]
    assert (plain.accuracy, kept.accuracy) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_all_that_stay_are_as_a_device_alone(three: Trace) -> None:
    kept = run(three, Keeping(None, 1.0))
    assert kept.answered_by.tolist() == [0, 0, 0]
    assert (kept.calls, kept.bytes_up.sum(), kept.bytes_down.sum()) == (0, 0, 0)
    assert kept.climb.stays.tolist() == [True, False, True]


@given(st.data())
def test_several_tiers_are_climbed_as_a_device_would(
    make_cascade: Callable[..., Trace], data: st.DataObject
) -> None:
    linked = data.draw(st.lists(st.booleans(), min_size=1, max_size=3))
    trace = make_cascade([1] * (len(linked) + 1), 12, linked=[False, *linked])
    tiers = tiers_of(trace)
    thresholds = [data.draw(st.sampled_from([0.0, 0.3, 0.6, 2.0])) for _ in linked]
    stays = np.array(data.draw(st.lists(st.booleans(), min_size=12, max_size=12)))
    kept = np.array([False, *linked])[:, None] & stays
    found = climb(tiers, thresholds, kept=kept)
    for query in range(12):
        best, asked, due, was_kept = 0, [], True, False
        for place, tier in enumerate(tiers):
            if not due:
                break
            if kept[place, query]:
                was_kept = True
                continue
            asked.append(place)
            best = place
            score = tier.answers[query].score
            due = place < len(linked) and score is not None and score >= thresholds[place]
        assert found.answered_by[query] == best
        assert np.flatnonzero(found.reached[:, query]).tolist() == asked
        assert found.stays[query] == was_kept


def test_a_share_is_drawn_by_the_seed_alone(make_cascade: Callable[..., Trace]) -> None:
    trace = make_cascade([1, 1], 400, linked=[False, True])
    keeping = Keeping(None, 0.25)
    first, again, other = (kept_in(trace, keeping, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert not first[0].any()
    assert 60 < first[1].sum() < 140
    assert kept_in(trace, keeping._replace(blocked=0.5), 1)[1][first[1]].all()  # they only grow


def test_a_curve_knows_what_stays(three: Trace) -> None:
    kept = run(three, SECRETS)
    steps = steps_of(kept.course.tiers[0], [0.5])
    curve = gate_curve(kept, 0, steps)
    assert curve.accuracy is not None
    for tau, calls, accuracy in zip(steps, curve.calls, curve.accuracy, strict=True):
        there = Replay.of(kept.course, [tau])
        assert calls == pytest.approx(there.calls / 3)
        assert accuracy == pytest.approx(there.accuracy)


def test_a_summary_says_what_stays(three: Trace) -> None:
    for keeping, share in ((None, None), (SECRETS, 1 / 3)):
        setting = Setting(keeping=keeping)
        summary = run_simulation({"x": three}, [NETWORK], [[0.5]], setting=setting, seed=1).summary
        assert summary.points[0].kept == (None if share is None else pytest.approx(share))
        assert any("keep queries on the device" in note for note in summary.notes) == bool(keeping)


def test_a_file_names_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text('[[tiers]]\naddress = "host:1"\n[policy]\nstay_patterns = ["x"]\n')
    found = keeping_of(path, 0.5)
    assert found is not None
    assert found.blocked == 0.5
    assert found.content is not None
    assert found.content.keeps(["axb"], "")
    path.write_text('[[tiers]]\naddress = "host:1"\n[policy]\nsend = "never"\n')
    found = keeping_of(path, 0.0)
    assert found is not None
    assert found.blocked == 1.0
    path.write_text('[[tiers]]\naddress = "host:1"\n')
    with pytest.raises(SimulatorError, match=r"has no \[policy\]"):
        keeping_of(path, 0.0)
    with pytest.raises(CascadeError):
        keeping_of(tmp_path / "none.toml", 0.0)
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(SimulatorError, match=r"blocked must be in \[0, 1\]"):
            keeping_of(None, share)
    assert keeping_of(None, 0.0) is None


def test_a_cascade_whose_first_tier_is_elsewhere_has_nobody_to_answer(three: Trace) -> None:
    header = msgspec.structs.replace(
        three.header,
        tiers=[msgspec.structs.replace(one, place="cloud") for one in three.header.tiers],
    )
    with pytest.raises(SimulatorError, match="needs a first tier on the device"):
        kept_in(Trace(header, three.records), SECRETS, 1)
