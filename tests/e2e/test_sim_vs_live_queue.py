"""The queue before the cloud live and in virtual time, where calls wait for each other.

They would keep the cloud at work for three times its time if it took one after the other. On the
one network all are delayed alike, so that what differs from call to call beyond its own time is the
queue. Means and quantiles do not see one that virtual time has not, for a control at the same load
takes up what is missing; that those calls wait live which wait in virtual time, it cannot.
"""

from __future__ import annotations

from typing import Any

import pytest
from live_runs import held_against_live

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Of ranks. A queue that is left out has 0; by chance 400 calls come to 0.1, and to 0.15 where they
#: are of each other's queues.
_CORRELATED = 0.3
#: A 95 % interval of live seconds for each of virtual time must touch these.
_SLOPE = (0.5, 2.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    asked = "--profiles coe-100ms --tiers 2 --loads loaded --queries 60"
    asked += " --share 3 --parts 4 --calls 400"
    return held_against_live(tmp_path_factory.mktemp("found"), asked)


def test_calls_wait_that_wait_in_virtual_time(found: dict[str, Any]) -> None:
    (row,) = found["rows"]
    added = row["added"]
    assert added["correlation"]["value"] > _CORRELATED, added
    least, most = _SLOPE
    assert added["slope"]["low"] < most, added
    assert added["slope"]["high"] > least, added
