"""Cascades on six networks live and in virtual time, each with two tiers and three.

The networks of `make sim-vs-live`, with fewer queries and calls. Judged are those queries that the
device sends on, one after the other, and calls at 70 % of the cloud's time: of a query that ends on
the device no network is seen.
"""

from __future__ import annotations

from typing import Any

import pytest
from live_runs import assert_alike, assert_close, held_against_live

_NETWORKS = ("coe-1us", "coe-10ms", "wifi-good", "lte", "leo-handover", "geo")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    asked = f"--profiles {' '.join(_NETWORKS)} --queries 30 --calls 80"
    return held_against_live(tmp_path_factory.mktemp("found"), asked)


@pytest.mark.parametrize("tiers", [2, 3])
@pytest.mark.parametrize("network", _NETWORKS)
def test_a_network_takes_as_long(found: dict[str, Any], network: str, tiers: int) -> None:
    loaded = [row for row in found["rows"] if row["load"] == "loaded"]
    rows = [
        row
        for row in (*found["sent"], *loaded)
        if (row["profile"], row["tiers"]) == (network, tiers)
    ]
    assert [row["load"] for row in rows] == ["light", "loaded"]
    for row in rows:
        for statistic in ("p50", "p95", "mean"):
            assert_close(row, statistic)
        assert_alike(row)
