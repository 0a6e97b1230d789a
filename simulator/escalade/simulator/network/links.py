"""A profile for each link of a cascade; knows no trace and no delay."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from escalade.simulator.errors import ProfileError, unknown
from escalade.simulator.network.profiles import Profile, Profiles, get_profile


@dataclass(frozen=True)
class Network:
    """The networks between the tiers of a cascade; a link goes by the tier that it leads to.

    Where each member of a tier has a link of its own, that is `TIER/MEMBER`, and the tier's
    profile is of those that have none.

    Attributes:
        everywhere: of every link that has no profile of its own; None: each has one.
        links: `(link, profile)`.
    """

    everywhere: Profile | None
    links: tuple[tuple[str, Profile], ...] = ()

    @property
    def name(self) -> str:
        """What tables call it: `lte`, or `lte, gateway=lan`."""
        plain = [] if self.everywhere is None else [self.everywhere.name]
        own = (f"{link}={profile.name}" for link, profile in self.links)
        return ", ".join([*plain, *own]) or "no link"

    @property
    def profiles(self) -> list[Profile]:
        """Every profile, once."""
        plain = [] if self.everywhere is None else [self.everywhere]
        return list(dict.fromkeys([*plain, *(profile for _, profile in self.links)]))

    def to(self, tier: str, member: str | None = None) -> Profile:
        """The profile of the link to a tier, or to one member of it.

        Raises:
            ProfileError: it has none.
        """
        links = dict(self.links)
        own = links.get(tier, self.everywhere)
        if member is not None:
            own = links.get(_link(tier, member), own)
        if own is None:
            what = "tier" if member is None else "member"
            link = tier if member is None else _link(tier, member)
            raise ProfileError(f"the link to {what} {link!r} has no profile; give {link}=PROFILE")
        return own


def networks_named(
    asked: Sequence[str],
    tiers: Mapping[str, Sequence[str]],
    defaults: Sequence[str] = (),
    *,
    known: Profiles | None = None,
) -> list[Network]:
    """The networks that a user means by names.

    Args:
        asked: `PROFILE`, each a network of its own; and `TIER=PROFILE`, which holds for the link
            to that tier in all of them, or `TIER/MEMBER=PROFILE`.
        tiers: those that a link leads to, each with the members that have links of their own.
        defaults: profiles to take where none is asked for and some link has none of its own.
        known: the profiles; None is those that come with the package.

    Raises:
        ProfileError: an unknown profile or link, a link given twice, or a link without a profile.
    """
    members = {tier: [_link(tier, one) for one in of] for tier, of in tiers.items()}
    links = [*tiers, *itertools.chain(*members.values())]
    plain: list[str] = []
    own: dict[str, Profile] = {}
    for one in asked:
        link, equals, name = one.rpartition("=")
        if not equals:
            plain.append(one)
            continue
        if not tiers:
            raise ProfileError(f"no tier is behind a link, so none has a profile; got {one!r}")
        if link not in links:
            raise ProfileError(unknown("tier of a link", link, dict.fromkeys(links)))
        if link in own:
            raise ProfileError(f"the link to {link!r} is given twice")
        own[link] = get_profile(name, known)
    given = tuple(own.items())
    if not plain and all(
        tier in own or (of and own.keys() >= set(of)) for tier, of in members.items()
    ):
        return [Network(None, given)]
    return [Network(get_profile(name, known), given) for name in dict.fromkeys(plain or defaults)]


def _link(tier: str, member: str) -> str:
    return f"{tier}/{member}"
