"""What a tier's answer costs; knows no rule, no metric and no threshold.

Equation 6 of the CAT paper (arXiv 2406.00060) charges a query for every model that it was put
to. So does a cost model here, and it cannot do otherwise: it says what one member's answer
costs and what a call over a link does, and every member that ran is charged.

- `flops_per_token`, the paper's x axis: a token costs twice the parameters (section 4.1),
  held constant, so that the axis is the deferral rate, stretched.
- `flops_per_query`: that times the tokens, read and written, that each member counted.
- `money`: the header's prices for a million tokens of each member, and for an hour in which it
  computes.
- `deferral_rate`: to defer costs 1, and nobody's answer costs anything.
- `bytes`: of the calls over links (messages without gRPC framing).
- `seconds`: of the members, each without a draft (side by side the slowest, else their sum; members
  elsewhere with their calls), or of the call where a link was crossed to the tier (loopback, where
  traces should be recorded).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from escalade.edge.deferral import reads_logprobs
from escalade.edge.trace import (
    Link,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceHeader,
    flops_of,
    latency_s,
    links_of,
    models_of,
    money_of,
)
from escalade.simulator.errors import SimulatorError, unknown
from escalade.simulator.recorded.prices import is_priced


def _free_member(answer: MemberAnswer, member: MemberInfo) -> float:
    return 0.0


def _free_link(link: Link) -> float:
    return 0.0


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """A cost of one's own needs no more than this.

    Attributes:
        name: what `--cost` takes.
        label: what an axis is called, without the unit.
        unit: of one query's (or token's) cost, e.g. `FLOPs` or `J`; empty for a share, None for
            the trace's currency.
        of_member: what the answer of a member that ran costs, >= 0.
        of_link: what a call over a link costs beside that, >= 0.
        of_deferral: what deferring a query costs, whoever answers it.
    """

    name: str
    label: str
    unit: str | None
    of_member: Callable[[MemberAnswer, MemberInfo], float] = _free_member
    of_link: Callable[[Link], float] = _free_link
    of_deferral: float = 0.0

    def __call__(self, answer: TierAnswer, tier: TierInfo) -> float:
        """What a tier's answer costs: that of all its members that ran, and of the call.

        Raises:
            SimulatorError: the cost is negative or not finite, or the header lacks what it needs.
        """
        parts = self._parts(answer, tier)
        for cost in parts:
            if not 0 <= cost < math.inf:
                raise SimulatorError(
                    f"cost {self.name!r}: that of a member of, or a call to, tier {tier.name!r}"
                    f" must be finite and >= 0; got {cost}"
                )
        return sum(parts)

    def _parts(self, answer: TierAnswer, tier: TierInfo) -> list[float]:
        if not tier.members:  # `ask --trace` has begun it while a tier elsewhere was silent
            raise SimulatorError(
                f"cost {self.name!r}: the trace does not say which models tier {tier.name!r} has;"
                " use one of `escalade record`"
            )
        parts = [self.of_member(one, tier.members[one.member]) for one in answer.members]
        return [*parts, *map(self.of_link, links_of(answer))]

    def unit_in(self, header: TraceHeader) -> str:
        """The unit, for the costs of a trace."""
        return header.currency if self.unit is None else self.unit

    def check(self, header: TraceHeader) -> None:
        """Refuse a trace that has nothing to go by.

        Raises:
            SimulatorError: the cost is money, and no member has a price.
        """
        if self.unit is None and not is_priced(header):
            raise SimulatorError(
                f"cost {self.name!r} needs the price of at least 1 member, and the trace has none"
            )


class _Seconds(CostModel):
    """Time, which members that run side by side spend once."""

    def _parts(self, answer: TierAnswer, tier: TierInfo) -> list[float]:
        return [recorded_seconds(answer, tier)]


def recorded_seconds(answer: TierAnswer, tier: TierInfo, *, drafted: bool = False) -> float:
    """How long a tier took: the call where a link was crossed, else its members.

    A server clock that ran ahead of the device's may report more than the round trip.

    Args:
        answer: the tier's.
        tier: who it is.
        drafted: with the drafts that members read live, where the trace says it.
    """
    if answer.link is None:
        return latency_s(answer.members, side_by_side=tier.side_by_side, drafted=drafted)
    return max(answer.link.round_trip_s, answer.link.server_s)


def live_seconds(answer: TierAnswer, tier: TierInfo) -> float:
    """`recorded_seconds`, with drafts where the rule lets members read them."""
    return recorded_seconds(answer, tier, drafted=not reads_logprobs(tier.rule))


def undrafted_seconds(answer: TierAnswer, tier: TierInfo) -> float:
    """The same of a tier that is asked first: its first member has no draft of a tier below."""
    members = [
        one if one.member else msgspec.structs.replace(one, drafted_s=msgspec.UNSET)
        for one in answer.members
    ]
    return live_seconds(msgspec.structs.replace(answer, members=members), tier)


def has_parameters(header: TraceHeader) -> bool:
    """Whether every member says how many parameters it has."""
    return all(member.parameters for tier in header.tiers for member in tier.members)


def cost_named(cost: str | CostModel) -> CostModel:
    """The cost model of that name; a `CostModel` is itself.

    Raises:
        SimulatorError: there is none; the message names the nearest and all.
    """
    if isinstance(cost, CostModel):
        return cost
    if cost not in COSTS:
        raise SimulatorError(unknown("cost", cost, COSTS))
    return COSTS[cost]


def _flops_of_a_token(answer: MemberAnswer, member: MemberInfo) -> float:
    models = [model for _, model in models_of(answer, member)]
    for model in models:
        if model.parameters < 1:
            raise SimulatorError(
                f"model {model.name!r}: parameters must be >= 1; got {model.parameters}"
            )
    return sum(2.0 * model.parameters for model in models)


def _flops(answer: MemberAnswer, member: MemberInfo) -> float:
    _flops_of_a_token(answer, member)  # which refuses a model of no known size
    return flops_of(answer, member)


def _bytes(link: Link) -> float:
    return link.bytes_up + link.bytes_down


flops = CostModel(name="flops_per_query", label="Compute per query", unit="FLOPs", of_member=_flops)
money = CostModel(name="money", label="Price of a query", unit=None, of_member=money_of)
seconds = _Seconds(
    name="seconds",
    label="Time per query",
    unit="s",
    of_member=lambda answer, member: answer.seconds,
)

#: Every cost model by the name that `--cost` takes.
COSTS: dict[str, CostModel] = {
    model.name: model
    for model in (
        CostModel(
            name="flops_per_token",
            label="Compute per token",
            unit="FLOPs",
            of_member=_flops_of_a_token,
        ),
        flops,
        money,
        CostModel(name="deferral_rate", label="Deferral rate", unit="", of_deferral=1.0),
        CostModel(name="bytes", label="Bytes per query", unit="B", of_link=_bytes),
        seconds,
    )
}
