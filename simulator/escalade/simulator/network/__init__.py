"""Networks: profiles, the delay line, the live proxy; knows no trace."""

from escalade.simulator.network.delay_line import DelayLine
from escalade.simulator.network.links import Network, networks_named
from escalade.simulator.network.profiles import PAPERS_DELAYS, Profile, get_profile
from escalade.simulator.network.proxy import run_proxy

__all__ = [
    "PAPERS_DELAYS",
    "DelayLine",
    "Network",
    "Profile",
    "get_profile",
    "networks_named",
    "run_proxy",
]
