"""When gRPC pings on its own account: by hand."""

from __future__ import annotations

import numpy as np
import pytest

from escalade.simulator.network import DelayLine
from escalade.simulator.network.delay_lines import Connections, answered_s, calls_s
from escalade.simulator.network.delay_lines.probes import Probes
from escalade.simulator.network.profiles import Profile


def test_the_first_data_is_answered_by_a_ping_and_so_is_what_comes_after_a_while() -> None:
    # Answered at 1.02, not before 1.12 again; then after 0.1 s more, and 0.25 s.
    assert Probes(0.02).pings_s([1.0, 1.01, 1.5]) == [1.0, 1.5]


def test_what_came_meanwhile_makes_it_ping_when_the_time_is_over() -> None:
    assert Probes(0.02).pings_s([1.0, 1.05, 3.0]) == pytest.approx([1.0, 1.12, 3.0])


def test_it_pings_less_and_less() -> None:
    often = Probes(0.0).pings_s(np.arange(0, 900, 0.02).tolist())
    apart = np.diff(often)
    assert apart[0] == pytest.approx(0.1, abs=0.021)
    assert (np.diff(apart) > -0.05).all()
    assert apart[-1] == pytest.approx(10.0, abs=0.2)


def test_an_answer_waits_behind_a_ping_that_stalls() -> None:
    lossy = Profile(name="lossy", rtt_ms=40, loss=0.5, source="test")
    many = 4000
    over = list(range(many))
    sent_s = 50.0 * np.arange(many, dtype=np.float64)
    lines = Connections(lossy, many, np.random.default_rng(0))
    came_s = lines.up_s(sent_s, over, [100] * many)
    took_s = lines.down_s(came_s + 0.001, over, [100] * many) - came_s - 0.001
    # Its own packet, or the ping's a millisecond before it.
    assert np.mean(took_s > 0.2) == pytest.approx(0.75, abs=0.03)
    assert set(np.round(took_s, 3).tolist()) == {0.02, 0.26, 0.259}


def test_an_idle_connection_pings_ahead_of_every_answer_where_something_may_be_lost() -> None:
    lossy = Profile(name="lossy", rtt_ms=40, loss=0.5, source="test")
    rng, many = np.random.default_rng(0), 4000
    took_s = [answered_s(lossy, DelayLine(lossy, "down", rng), 0, 0.01, 100) for _ in range(many)]
    assert np.mean(np.array(took_s) > 0.2) == pytest.approx(0.75, abs=0.03)
    assert set(np.round(took_s, 3).tolist()) == {0.03, 0.26, 0.27}

    sizes = np.full(many, 100)
    _, back_s = calls_s(lossy, rng.random((3, many)), sizes, np.full(many, 0.01), sizes)
    assert np.mean(back_s > 0.2) == pytest.approx(1 - 0.5**3, abs=0.03)

    clear, state = Profile(name="clear", rtt_ms=40, source="test"), rng.bit_generator.state
    assert answered_s(clear, DelayLine(clear, "down", rng), 0, 0.01, 100) == pytest.approx(0.03)
    assert rng.bit_generator.state == state
