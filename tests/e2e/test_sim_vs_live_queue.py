"""The queue before the cloud live and in virtual time, where calls wait for each other."""

from __future__ import annotations

from typing import Any

import pytest
from live_runs import held_against_live

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    asked = "--profiles coe-100ms --loads loaded --queries 60 --share 1.5 --parts 4 --calls 240"
    return held_against_live(tmp_path_factory.mktemp("found"), asked)


@pytest.mark.parametrize("tiers", [2, 3])
def test_calls_wait_that_wait_in_virtual_time(found: dict[str, Any], tiers: int) -> None:
    (row,) = [one for one in found["rows"] if one["tiers"] == tiers]
    added = row["added"]
    assert added["correlation"]["low"] > 0.3, added
    assert 0.5 < added["slope"]["value"] < 2, added
