"""docs/networks.md leaves out no network, no device and no key of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.simulator.devices import Device
from escalade.simulator.network import Profile, profiles_with
from escalade.simulator.network.profiles.episodes import Bursts, Spike
from escalade.simulator.network.profiles.spreads import Lognormal, Normal, Pareto, Quantiles

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "networks.md").read_text()
TABLES = (Profile, Device, Bursts, Spike, Normal, Lognormal, Pareto, Quantiles)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_on_the_page(table: type) -> None:
    keys = set(table.__struct_fields__) - {"name", "resnet18_1_thread_ms"}
    assert [key for key in sorted(keys) if key not in PAGE] == []


def test_every_network_and_its_source_is_on_the_page() -> None:
    sources = PAGE.partition("## Sources")[2]
    networks = [name for name in profiles_with(None) if f"`{name}`" not in sources]
    assert networks == []
