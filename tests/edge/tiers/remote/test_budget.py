"""How a query's deadline is split between the links on its way, on virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_clock import VirtualClock

from escalade.edge import Cascade, Query
from escalade.edge.deferral import Gate, mean_nll
from escalade.edge.errors import CloudError
from escalade.edge.policy import Leaving, Permit
from escalade.edge.run import Run
from escalade.edge.tiers import RemoteTier

KEPT = 0.9


@dataclass
class Silent:
    """A channel to nobody, which takes a share of the time that it is given."""

    deadline_s: float
    share: float
    clock: VirtualClock
    given: list[float | None] = field(default_factory=list)
    address: str = "host:1"
    guard: None = None

    def admit(self, request: Any, leaving: Leaving) -> Permit:
        return Permit(None, leaving)

    def generate(self, request: Any, *, deadline_s: float | None, **options: Any) -> Any:
        self.given.append(deadline_s)
        self.clock.sleep_s(self.share * (self.deadline_s if deadline_s is None else deadline_s))
        raise CloudError("DEADLINE_EXCEEDED", "nobody there", cause="link")


def climb(deadline_s: float | None, links: list[tuple[float, float]]) -> list[Silent]:
    clock = VirtualClock()
    channels = [Silent(own_s, share, clock) for own_s, share in links]
    tiers = [RemoteTier(one, name=f"tier{n}") for n, one in enumerate(channels)]  # type: ignore[arg-type]
    gate = Gate(rule=mean_nll, threshold=0.5)
    gates = [*[gate] * (len(tiers) - 1), None]
    cascade = Cascade(tiers=tiers, gates=gates, clock=clock)
    with pytest.raises(CloudError):
        Run(cascade, Query(text="x", deadline_s=deadline_s)).finish()
    assert deadline_s is None or clock.at_s <= deadline_s
    return channels


@given(
    st.floats(0.01, 100.0),
    st.lists(
        st.tuples(st.floats(0.01, 100.0), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=5
    ),
)
def test_whatever_others_take_a_tier_has_its_share(
    deadline_s: float, links: list[tuple[float, float]]
) -> None:
    whole_s = sum(own_s for own_s, _ in links)
    for one in climb(deadline_s, links):
        (given_s,) = one.given
        assert given_s is not None
        assert given_s <= one.deadline_s
        share_s = KEPT * deadline_s * one.deadline_s / whole_s
        assert given_s >= min(one.deadline_s, share_s) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("deadline_s", "links", "given_s"),
    [
        (None, [(2.0, 1.0), (8.0, 1.0)], [None, None]),
        (5.0, [(2.0, 1.0), (8.0, 1.0)], [0.9, 3.69]),  # 2 tenths of 4.5, and 9 tenths of 4.1
        (5.0, [(2.0, 0.0), (8.0, 1.0)], [0.9, 4.5]),  # what the first leaves is the second's
        (100.0, [(2.0, 1.0), (8.0, 1.0)], [2.0, 8.0]),  # enough for both
        (5.0, [(10.0, 1.0)], [4.5]),
    ],
)
def test_the_rule_by_numbers(
    deadline_s: float | None, links: list[tuple[float, float]], given_s: list[float | None]
) -> None:
    found = [one.given[0] for one in climb(deadline_s, links)]
    assert found == pytest.approx(given_s)
