"""Three tiers live and in virtual time, one query after the other and at 70 % of the cloud's time.

One network, whose round trip is 100 ms, always: chance is in neither side, and it takes about as
long as what the large model computes, so that neither hides what the other lacks. A queue that is
left out is not seen here: so few calls hardly queue, and a control takes up what is missing of
each. It is in `test_sim_vs_live_queue`; more networks are in `test_sim_vs_live_networks`, two tiers
with a model of random weights in `test_sim_vs_live`.
"""

from __future__ import annotations

from typing import Any

import pytest
from live_runs import assert_close, held_against_live

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    asked = "--profiles coe-100ms --tiers 3 --queries 30 --calls 80"
    return held_against_live(tmp_path_factory.mktemp("found"), asked)


def test_calls_that_come_one_after_the_other_take_as_long(found: dict[str, Any]) -> None:
    (sent,) = found["sent"]
    assert (sent["load"], sent["tiers"]) == ("light", 3)
    assert_close(sent, "p50")
    assert_close(sent, "mean")


def test_calls_that_overlap_take_as_long(found: dict[str, Any]) -> None:
    (row,) = [one for one in found["rows"] if one["load"] == "loaded"]
    assert_close(row, "p50")
    assert_close(row, "mean")
