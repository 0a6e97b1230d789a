"""What the members of a tier have decided so far, under its gate; knows no member, no network."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.deferral import Agreement, Gate, Voice, Vote


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for a tier, and whether its gate sends the query on."""

    #: The member's place.
    winner: int
    #: The bound that decided, where not all were heard, and without a threshold the most that it
    #: may be; None without a gate.
    score: float | None
    defers: bool
    #: Whether nobody who is yet to be heard can make another text win.
    settled: bool


def is_decided(
    gate: Gate | None, voices: Sequence[Voice], weights: Sequence[float], *, can_defer: bool
) -> bool:
    """Whether those not yet heard can change neither the decision nor what is answered.

    Where there is nothing to decide, as after a last tier, no more are heard than the winner takes.

    Args:
        gate: the tier's.
        voices: of those that have ended.
        weights: of all members.
        can_defer: see `Agreement.is_decided`.
    """
    agreement = agreement_of(gate)
    if gate is None or gate.threshold is None:
        return agreement.is_settled(voices, weights)
    return agreement.is_decided(voices, weights, gate.threshold, can_defer=can_defer)


def verdict_on(gate: Gate | None, voices: Sequence[Voice], weights: Sequence[float]) -> Verdict:
    """The verdict of those that have ended.

    Args:
        gate: the tier's.
        voices: at least one of which said something.
        weights: of all members.
    """
    outcome, certain = agreement_of(gate).so_far(voices, weights)
    defers = gate is not None and gate.defers(certain.least)
    return Verdict(
        winner=outcome.winner,
        score=None if gate is None else certain.least if defers else certain.most,
        defers=defers,
        settled=certain.settled,
    )


def agreement_of(gate: Gate | None) -> Agreement:
    """The gate's; where no gate says otherwise, members vote."""
    if gate is None:
        return Vote()
    assert isinstance(gate.rule, Agreement)  # noqa: S101 - other rules are of one member
    return gate.rule
