"""A gate's curve is what replays at each of its steps say, whatever the other gates do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from escalade.edge.trace import Trace
from escalade.simulator.network.links import Network
from escalade.simulator.network.profiles import get_profile
from escalade.simulator.recorded.scores import scores_of
from escalade.simulator.replay import Replay
from escalade.simulator.replay.simulation import run_simulation
from escalade.simulator.replay.steps import curves_of, step_of


@pytest.mark.parametrize("members", [[1, 1], [3, 1, 1], [1, 2, 3, 1]])
def test_a_curve_is_what_replays_say(
    make_cascade: Callable[..., Trace], members: list[int]
) -> None:
    trace = make_cascade(members, 90, seed=len(members))
    asked = [[0.3] * (len(members) - 1), [0.6] * (len(members) - 1)]
    found = run_simulation({"t": trace}, [Network(get_profile("lte"))], asked, seed=0)
    first = found.replays[0][1]
    curves = curves_of(found)["t"]
    assert len(curves) == len(members) - 1
    for gate, curve in enumerate(curves):
        assert {0.3, 0.6, np.inf} <= set(curve.thresholds)
        assert (np.diff(curve.thresholds) > 0).all()
        at = [[*asked[0][:gate], tau, *asked[0][gate + 1 :]] for tau in curve.thresholds]
        replays = [Replay.of(first.course, taus) for taus in at]
        assert curve.calls == pytest.approx([one.calls / one.queries for one in replays])
        assert curve.accuracy == pytest.approx([one.accuracy for one in replays])


def test_steps_are_few_and_tell_who_goes_on(realistic_trace: Trace) -> None:
    found = run_simulation({"t": realistic_trace}, [Network(get_profile("lte"))], [], seed=0)
    course = found.replays[0][1].course
    (curve,) = curves_of(found)["t"]
    assert 200 < len(curve.thresholds) <= 202
    reached = step_of(course.tiers[0], curve.thresholds)
    for step, tau in enumerate(curve.thresholds):
        assert ((reached > step) == (scores_of(course.tiers[0]) >= tau)).all()
