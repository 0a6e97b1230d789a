"""A profile for each link of a cascade; knows no trace and no delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from escalade.simulator.errors import ProfileError, unknown
from escalade.simulator.network.profiles import Profile, Profiles, get_profile


@dataclass(frozen=True)
class Network:
    """The networks between the tiers of a cascade; a link goes by the tier that it leads to.

    Attributes:
        everywhere: of every link that has no profile of its own; None: each has one.
        links: `(tier, profile)`.
    """

    everywhere: Profile | None
    links: tuple[tuple[str, Profile], ...] = ()

    @property
    def name(self) -> str:
        """What tables call it: `lte`, or `lte, gateway=lan`."""
        plain = [] if self.everywhere is None else [self.everywhere.name]
        own = (f"{tier}={profile.name}" for tier, profile in self.links)
        return ", ".join([*plain, *own]) or "no link"

    @property
    def profiles(self) -> list[Profile]:
        """Every profile, once."""
        plain = [] if self.everywhere is None else [self.everywhere]
        return list(dict.fromkeys([*plain, *(profile for _, profile in self.links)]))

    def to(self, tier: str) -> Profile:
        """The profile of the link to a tier.

        Raises:
            ProfileError: it has none.
        """
        own = dict(self.links).get(tier, self.everywhere)
        if own is None:
            raise ProfileError(f"the link to tier {tier!r} has no profile; give {tier}=PROFILE")
        return own


def networks_named(
    asked: Sequence[str],
    tiers: Sequence[str],
    defaults: Sequence[str] = (),
    *,
    known: Profiles | None = None,
) -> list[Network]:
    """The networks that a user means by names.

    Args:
        asked: `PROFILE`, each a network of its own; and `TIER=PROFILE`, which holds for the link
            to that tier in all of them.
        tiers: those that a link leads to.
        defaults: profiles to take where none is asked for and some link has none of its own.
        known: the profiles; None is those that come with the package.

    Raises:
        ProfileError: an unknown profile or tier, a tier given twice, or a link without a profile.
    """
    plain: list[str] = []
    own: dict[str, Profile] = {}
    for one in asked:
        tier, equals, name = one.partition("=")
        if not equals:
            plain.append(one)
            continue
        if not tiers:
            raise ProfileError(f"no tier is behind a link, so none has a profile; got {one!r}")
        if tier not in tiers:
            raise ProfileError(unknown("tier of a link", tier, tiers))
        if tier in own:
            raise ProfileError(f"the link to tier {tier!r} is given twice")
        own[tier] = get_profile(name, known)
    links = tuple(own.items())
    if not plain and set(tiers) <= own.keys():
        return [Network(None, links)]
    return [Network(get_profile(name, known), links) for name in dict.fromkeys(plain or defaults)]
