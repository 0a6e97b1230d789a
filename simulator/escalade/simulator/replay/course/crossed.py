"""Which links a query crosses, by name, and the profile of each; knows no seconds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from escalade.edge.trace import Hop, Link, MemberInfo, TierAnswer, TierInfo, Trace, links_of
from escalade.simulator.network import Network, Profile


def links_behind(hops: Sequence[Hop]) -> list[Hop]:
    """The tiers that a query came to over a further link: behind a gateway the place changes.

    One gateway behind another is not told from it.
    """
    return [hop for before, hop in itertools.pairwise(hops) if hop.place != before.place]


def names_of(members: Sequence[MemberInfo]) -> list[str]:
    """What each link to a member of a tier goes by: its name, and its place where two share it."""
    many = Counter(one.name for one in members)
    return [
        one.name if many[one.name] == 1 else f"{one.name}#{place}"
        for place, one in enumerate(members, 1)
    ]


def linked_of(trace: Trace) -> dict[str, list[str]]:
    """The tiers that a link leads to, those behind a gateway too, each with its members' links."""
    found: dict[str, list[str]] = {}
    for k, tier in enumerate(trace.header.tiers):
        for record in trace.records:
            answer = record.tiers[k]
            if answer is None or not links_of(answer):
                continue
            calls = [one.call.hops for one in answer.members if one.call is not msgspec.UNSET]
            found[tier.name] = names_of(tier.members) if calls else found.get(tier.name, [])
            for hops in (answer.hops, *calls):
                for hop in links_behind(hops):
                    found.setdefault(hop.tier, [])
    return found


class Crossed(NamedTuple):
    """The links to a tier and behind it, on a network."""

    tier: str
    #: See `names_of`.
    members: Sequence[str]
    network: Network

    @staticmethod
    def on(network: Network, tier: TierInfo) -> Crossed:
        """Of one tier."""
        return Crossed(tier.name, names_of(tier.members), network)

    def profiles(self, hops: Sequence[Hop], member: int | None = None) -> list[Profile]:
        """Of those that a call crossed, the caller's own first.

        Args:
            hops: of the call.
            member: whose call it is, where each has a link of its own.

        Raises:
            ProfileError: a link has none.
        """
        own = None if member is None else self.members[member]
        behind = (self.network.to(hop.tier) for hop in links_behind(hops))
        return [self.network.to(self.tier, own), *behind]

    def calls(self, answer: TierAnswer) -> Iterator[tuple[Link, list[Profile]]]:
        """Each call of a query to the tier, and what it crossed, as `profiles` has it."""
        if answer.link is not None:
            yield answer.link, self.profiles(answer.hops)
        for one in answer.members:
            if one.call is not msgspec.UNSET:
                yield one.call.link, self.profiles(one.call.hops, one.member)
