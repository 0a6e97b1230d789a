"""How networks are told in words."""

from __future__ import annotations

import pytest

from escalade.simulator.network.described.rows import outages_told
from escalade.simulator.network.profiles import Chance, Cycle, Profile


@pytest.mark.parametrize(
    ("outage", "told"),
    [
        (Chance(every_s=3600, lasts_s=30), "30 s every 1 h on average, by chance"),
        (Cycle(every_s=86400, lasts_s=28800), "8 h every 24 h"),
        (Cycle(every_s=5400, lasts_s=0.5), "500 ms every 5400 s"),
    ],
)
def test_an_outage_is_told_in_hours_where_these_are_whole(
    outage: Chance | Cycle, told: str
) -> None:
    profile = Profile(name="away", rtt_ms=1, outages=(outage,), source="made up")
    assert list(outages_told(profile)) == [f"nothing passes for {told}"]
