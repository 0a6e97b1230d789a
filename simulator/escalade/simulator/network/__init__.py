"""Networks: profiles, the delay line, the live proxy; knows no trace."""

from escalade.simulator.network.delay_line import DelayLine
from escalade.simulator.network.links import Network, networks_named
from escalade.simulator.network.profiles import (
    PAPERS_DELAYS,
    Profile,
    Profiles,
    get_profile,
    profiles_with,
    shipped_profiles,
)
from escalade.simulator.network.proxy import run_proxy
from escalade.simulator.network.stages import Conditions

__all__ = [
    "PAPERS_DELAYS",
    "Conditions",
    "DelayLine",
    "Network",
    "Profile",
    "Profiles",
    "get_profile",
    "networks_named",
    "profiles_with",
    "run_proxy",
    "shipped_profiles",
]
