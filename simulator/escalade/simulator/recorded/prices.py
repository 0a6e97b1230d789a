"""What members' answers cost in money, other than it was recorded; knows no query.

A member is paid for by the token, read and written, and by the hour in which it computes: a rented
GPU, of which nothing else is known here. What it costs while it waits for queries, and what several
at once share, is for a fleet (`escalade.simulator.fleet`) to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from escalade.edge.trace import MemberInfo, Trace, TraceHeader, at_price
from escalade.simulator.errors import SimulatorError, unknown


def is_priced(header: TraceHeader) -> bool:
    """Whether any member has a price."""
    return any(has_price(member) for tier in header.tiers for member in tier.members)


def has_price(member: MemberInfo) -> bool:
    """Whether it has one above 0, of tokens or of hours."""
    prices = member.prompt_price, member.generated_price, member.hour_price
    return any(price for price in prices if price is not msgspec.UNSET)


def with_prices(
    trace: Trace,
    prices: Mapping[str, tuple[float, float]],
    hour_prices: Mapping[str, float] | None = None,
) -> Trace:
    """The same trace under other prices.

    Args:
        trace: its records stay as they are.
        prices: by a member's name, money for a million tokens (read, written); others keep
            theirs.
        hour_prices: by a member's name, money for an hour in which it computes, likewise; of a
            gateway that is a member, each of its models'.

    Raises:
        SimulatorError: no such member, or a price that is negative or not finite.
    """
    hour_prices = hour_prices or {}
    known = [member.name for tier in trace.header.tiers for member in tier.members]
    given = [(name, price) for name, pair in prices.items() for price in pair]
    for name, price in [*given, *hour_prices.items()]:
        if name not in known:
            raise SimulatorError(unknown("member with a price", name, known))
        if not 0 <= price < math.inf:
            raise SimulatorError(f"price of {name!r} must be finite and >= 0; got {price}")

    def priced(member: MemberInfo) -> MemberInfo:
        name = member.name
        if name in prices:
            member = at_price(member, *prices[name])
        return _for_hours(member, hour_prices[name]) if name in hour_prices else member

    tiers = [
        msgspec.structs.replace(tier, members=[priced(member) for member in tier.members])
        for tier in trace.header.tiers
    ]
    return trace._replace(header=msgspec.structs.replace(trace.header, tiers=tiers))


def hour_words(header: TraceHeader) -> list[str]:
    """What members cost by the hour, a line each."""
    return [
        f"an hour in which {member.name} computes costs {member.hour_price:g} {header.currency};"
        " one in which it waits is not counted"
        for tier in header.tiers
        for member in tier.members
        if member.hour_price is not msgspec.UNSET and member.hour_price
    ]


def _for_hours(member: MemberInfo, price: float) -> MemberInfo:
    models = member.models
    if models is not msgspec.UNSET:
        models = [_for_hours(one, price) for one in models]
    return msgspec.structs.replace(member, hour_price=price, models=models)
