"""What stalls on a connection holds up what is behind it there, and on no other."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from escalade.simulator.network import Connections, DelayLine, Profile, get_profile, held_share
from escalade.simulator.network.profiles import Bursts, with_fields
from escalade.simulator.network.stages import RTO_MIN_S

CALLS, BYTES = 2000, 300


def lossy(loss: float) -> Profile:
    return msgspec.structs.replace(get_profile("coe-10ms"), loss=loss)


def both_ways(
    profile: Profile, connections: int, seed: int = 0, rate: float = 100.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds up and down of so many calls a second, in turn over so many connections."""
    over, sizes = [k % connections for k in range(CALLS)], [BYTES] * CALLS
    sent_s = np.arange(CALLS) / rate
    lines = Connections(profile, connections, np.random.default_rng(seed))
    come_s = lines.up_s(sent_s, over, sizes)
    return come_s - sent_s, lines.down_s(come_s, over, sizes) - come_s


def test_calls_behind_a_stalled_one_wait_for_it_each_way() -> None:
    """Of 1 in 200 lost, each stalled for 210 ms, in which another 20 calls come."""
    # On a connection's first call the server pings, and the answer comes behind it.
    for packets, alone_s, shared_s in zip(
        (1, 2), both_ways(lossy(0.005), CALLS), both_ways(lossy(0.005), 1), strict=True
    ):
        late_alone, late_shared = (np.mean(way > 0.0051) for way in (alone_s, shared_s))
        assert late_alone == pytest.approx(packets * 0.005, abs=0.005)
        assert 5 * late_alone < late_shared < 25 * late_alone
        stall_s = lossy(0.005).rtt_ms / 1e3 + RTO_MIN_S
        assert shared_s.max() == pytest.approx(0.005 + stall_s)


def test_what_comes_over_one_connection_keeps_its_order() -> None:
    for name in ("wifi-good", "leo", "leo-handover"):
        sent_s = np.arange(CALLS) / 100
        up_s, _ = both_ways(get_profile(name), 1)
        assert (np.diff(sent_s + up_s) >= 0).all()


def test_without_losses_it_does_not_matter_who_shares() -> None:
    for alone_s, shared_s in zip(
        both_ways(lossy(0.0), CALLS), both_ways(lossy(0.0), 1), strict=True
    ):
        assert alone_s == pytest.approx(shared_s)


def test_both_ways_of_a_call_see_one_round_trip_time() -> None:
    """Though answers are asked for when all requests have been."""
    spread = {"kind": "quantiles", "points": [[0.25, 40], [0.5, 50], [0.75, 60]]}
    wandering = with_fields(get_profile("coe-10ms"), {"spread": spread})
    up_s, down_s = both_ways(wandering, 1, rate=1.0)
    assert np.ptp(up_s) > 0.002
    assert up_s == pytest.approx(down_s)


def test_one_seed_gives_the_same_times() -> None:
    one, again, other = (both_ways(get_profile("leo"), 4, seed)[0] for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize("bursts", [None, Bursts(to_bad=0.02, to_good=1.0, loss_bad=0.1)])
def test_so_many_are_held_up_by_another_as_is_said(bursts: Bursts | None) -> None:
    """Of calls at moments of chance, each way by itself."""
    profile = msgspec.structs.replace(lossy(0.002 if bursts is None else 0.0), bursts=bursts)
    per_s, many, rng = 20.0, 40_000, np.random.default_rng(3)
    sent_s = np.cumsum(rng.exponential(1 / per_s, many))
    held = 0.0
    for way in ("up", "down"):
        line = DelayLine(profile, way, rng)
        late = np.array([line.release_s(at, 100) - at for at in sent_s.tolist()]) - 0.005
        # Its own stall is the whole of it.
        held += float(np.mean((late > 1e-3) & (late < 0.2099)))
    assert held_share(profile, per_s) == pytest.approx(held, rel=0.25)
    assert held_share(lossy(0.0), per_s) == 0
