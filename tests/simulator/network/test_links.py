"""Which network is on which link."""

from __future__ import annotations

import pytest

from escalade.simulator.errors import ProfileError
from escalade.simulator.network.links import Network, networks_named
from escalade.simulator.network.profiles import get_profile

LINKS: dict[str, list[str]] = {"gateway": [], "cloud": []}
PANEL = {"panel": ["a", "b#2", "b#3"], "cloud": []}


def test_a_name_is_a_network_and_a_tier_has_its_own_in_all_of_them() -> None:
    found = networks_named(["lte", "gateway=lan", "3g", "lte"], LINKS)
    assert [network.name for network in found] == ["lte, gateway=lan", "3g, gateway=lan"]
    assert [found[1].to(tier).name for tier in LINKS] == ["lan", "3g"]
    assert [profile.name for profile in found[1].profiles] == ["3g", "lan"]


def test_defaults_stand_in_where_a_link_has_none() -> None:
    for asked, names in (
        ([], ["free", "edge"]),
        (["gateway=lan"], ["free, gateway=lan", "edge, gateway=lan"]),
        (["gateway=lan", "cloud=geo"], ["gateway=lan, cloud=geo"]),
        (["lte"], ["lte"]),
    ):
        found = networks_named(asked, LINKS, ["free", "edge"])
        assert [network.name for network in found] == names
    assert networks_named([], {}) == [Network(None)]
    assert Network(None).name == "no link"
    assert networks_named([], LINKS) == []


@pytest.mark.parametrize(
    ("asked", "links", "says"),
    [
        (["mars"], LINKS, "got 'mars'"),
        (["cloud=mars"], LINKS, "got 'mars'"),
        (
            ["cluod=lan"],
            LINKS,
            "link must be one of gateway, cloud; got 'cluod'; did you mean",
        ),
        (["cloud=lan", "cloud=lte"], LINKS, "the link to 'cloud' is given twice"),
        (["panel/b=lan"], PANEL, "got 'panel/b'; did you mean 'panel/"),
        (["cloud=lan"], {}, "no tier is behind a link, so none has a profile; got 'cloud=lan'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    asked: list[str], links: dict[str, list[str]], says: str
) -> None:
    with pytest.raises(ProfileError) as error:
        networks_named(asked, links)
    assert says in str(error.value)


def test_a_link_without_a_profile_is_named() -> None:
    with pytest.raises(ProfileError, match="link to tier 'cloud' has no profile; give cloud=P"):
        Network(None, (("gateway", get_profile("lan")),)).to("cloud")


def test_members_have_links_of_their_own_and_the_tiers_profile_where_they_have_none() -> None:
    (found,) = networks_named(["lte", "panel=geo", "panel/a=lan"], PANEL)
    assert found.name == "lte, panel=geo, panel/a=lan"
    assert [found.to("panel", one).name for one in PANEL["panel"]] == ["lan", "geo", "geo"]
    every = [f"panel/{one}=lan" for one in PANEL["panel"]]
    assert networks_named([*every, "cloud=lte"], PANEL, ["free"])[0].everywhere is None
    assert networks_named([*every[1:], "cloud=lte"], PANEL, ["free"])[0].everywhere is not None
    with pytest.raises(ProfileError, match="member 'panel/a' has no profile; give panel/a=P"):
        Network(None, (("panel/b", get_profile("lan")),)).to("panel", "a")
