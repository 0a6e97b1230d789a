"""Fields changed while a network is in use: the same words and ranges as in a file."""

from __future__ import annotations

import pytest

from escalade.simulator.errors import ProfileError
from escalade.simulator.network.profiles import Cycle, get_profile, with_fields

LTE = get_profile("lte")


def test_fields_take_the_place_of_the_profiles_own() -> None:
    outage = {"kind": "cycle", "every_s": 15, "lasts_s": 1}
    changed = with_fields(LTE, {"rtt_ms": 300, "up_mbps": None, "outages": [outage]})
    assert (changed.rtt_ms, changed.up_mbps, changed.down_mbps) == (300, None, LTE.down_mbps)
    assert changed.outages == (Cycle(every_s=15, lasts_s=1),)
    assert with_fields(LTE, {}) == LTE


def test_quantiles_bring_their_median() -> None:
    spread = {"kind": "quantiles", "points": [[0, 40], [0.5, 50], [1, 90]]}
    assert with_fields(LTE, {"spread": spread}).rtt_ms == 50


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rtt": 3}, r"a field must be one of rtt_ms, .*; got 'rtt'; did you mean 'rtt_ms'\?"),
        ({"down_trace": "/etc/passwd"}, "a field must be one of .*; got 'down_trace'"),
        ({"rtt_ms": -1}, r"rtt_ms must be 0 <= rtt_ms <= 3.6e\+06; got -1"),
        ({"rtt_ms": "70"}, "rtt_ms: Expected `float`, got `str`: '70'"),
        ({"rtt_ms": None}, "rtt_ms cannot be left out"),
        ({"down_mbps": 0}, "down_mbps must be .*; got 0"),
        ({"bursts": {"to_bda": 1}}, "bursts: .*to_bda"),
        ({"loss": float("nan")}, "loss must be 0 <= loss < 1; got nan"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ProfileError, match=f"profile 'lte': {said}"):
        with_fields(LTE, fields)
