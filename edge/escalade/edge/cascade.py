"""The tiers of a cascade and the gates between them; knows no query and no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from escalade.edge.base import Clock, SystemClock, utc_now
from escalade.edge.deferral import Gate
from escalade.edge.errors import CalibrationError, CascadeError, CloudError
from escalade.edge.outbox import OutboxOptions
from escalade.edge.policy import Guard
from escalade.edge.tiers import Tier
from escalade.edge.trace import TRACE_SCHEMA, MemberInfo, TierInfo, TraceHeader


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """Tiers in the order they are asked, and what decides after each.

    Raises:
        CascadeError: there is no tier, two have one name, or there are not as many gates as tiers.
        CalibrationError: a gate that may have to send a query on has no threshold, and is not
            there to be calibrated.
    """

    tiers: Sequence[Tier]
    #: One for each tier. None after the last; a gate there only says what another tier would
    #: have been asked for.
    gates: Sequence[Gate | None]
    clock: Clock = field(default_factory=SystemClock)
    currency: str = "USD"
    #: Whether every gate must have a threshold. Without, queries are asked in shadow mode alone.
    calibrated: bool = True
    #: Where queries are kept whose tier is out of reach; None: nowhere.
    outbox: OutboxOptions | None = None
    #: The policy that its tiers elsewhere pass, to be closed with them; None: there is none.
    guard: Guard | None = None

    def __post_init__(self) -> None:
        """Check that every query finds its way."""
        names = [tier.name for tier in self.tiers]
        if not names:
            raise CascadeError("a cascade needs at least 1 tier, got 0")
        if len(self.gates) != len(names):
            raise CascadeError(f"gates must be {len(names)}, one for each tier: {len(self.gates)}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise CascadeError(f"tiers must have names of their own, got {twice[0]!r} twice")
        for name, gate in zip(names[:-1], self.gates[:-1], strict=True):
            if gate is None:
                raise CascadeError(
                    f"two last tiers: {name!r} and {names[-1]!r} have no gate after them; every"
                    " tier but the last needs one"
                )
            if self.calibrated and gate.threshold is None:
                raise not_calibrated(f"the gate of tier {name!r}")

    def header(self, *, known_only: bool = False) -> TraceHeader:
        """The first line of its traces.

        Args:
            known_only: leave out the members of tiers elsewhere, which a call would have to name.

        Raises:
            CloudError: a tier elsewhere does not say who it is.
        """
        return self._header(
            [
                [] if known_only and tier.place != "device" else tier.members(hold=True)
                for tier in self.tiers
            ]
        )

    def header_if_known(self) -> TraceHeader:
        """As `header`; a tier that is silent just now has no members."""
        return self._header([members_if_known(tier, hold=True) for tier in self.tiers])

    def _header(self, members: list[list[MemberInfo]]) -> TraceHeader:
        return TraceHeader(
            schema=TRACE_SCHEMA,
            tiers=[
                TierInfo(
                    name=tier.name,
                    place=tier.place,
                    members=known,
                    side_by_side=tier.side_by_side,
                    rule=None if gate is None else gate.rule.name,
                    threshold=None if gate is None else gate.threshold,
                )
                for tier, gate, known in zip(self.tiers, self.gates, members, strict=True)
            ],
            currency=self.currency,
            created=utc_now(),
        )

    def close(self) -> None:
        """Close every tier, and the policy's budget."""
        for tier in self.tiers:
            tier.close()
        if self.guard is not None:
            self.guard.close()


def not_calibrated(what: str) -> CalibrationError:
    """What is missing where there is no threshold."""
    return CalibrationError(
        f"{what}: not calibrated: run `escalade calibrate`, or give a threshold"
    )


def members_if_known(tier: Tier, *, hold: bool = False) -> list[MemberInfo]:
    """As `Tier.members`; none where the tier is silent just now."""
    try:
        return tier.members(hold=hold)
    except CloudError:
        return []
