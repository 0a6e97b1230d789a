"""Cascades on six networks live and in virtual time, each with two tiers and three.

Those of `make sim-vs-live`, with fewer queries and calls, and 100 ms in place of 1 us, of which no
machine knows what is the network's. Judged are those queries that the device sends on, one after
the other, and calls at 70 % of the cloud's time: of a query that ends on the device no network is
seen. A queue that is left out is not seen here: that is `test_sim_vs_live_queue`.
"""

from __future__ import annotations

from typing import Any

import pytest
from live_runs import assert_alike, assert_close, held_against_live

_NETWORKS = ("coe-10ms", "wifi-good", "lte", "leo-handover", "coe-100ms", "geo")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    asked = f"--profiles {' '.join(_NETWORKS)} --queries 30 --calls 80"
    return held_against_live(tmp_path_factory.mktemp("found"), asked)


@pytest.mark.parametrize("load", ["light", "loaded"])
@pytest.mark.parametrize("tiers", [2, 3])
@pytest.mark.parametrize("network", _NETWORKS)
def test_a_network_takes_as_long(
    found: dict[str, Any], network: str, tiers: int, load: str
) -> None:
    rows = found["sent"] if load == "light" else found["rows"]
    wanted = (network, tiers, load)
    (row,) = [one for one in rows if (one["profile"], one["tiers"], one["load"]) == wanted]
    assert_close(row, "p50")
    assert_close(row, "mean")
    assert_close(row, "p95", off=0.2)
    assert_alike(row)
