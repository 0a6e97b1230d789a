"""Networks: profiles, the delay line, the live proxy; knows no trace."""

from escalade.simulator.network.delay_line import DelayLine
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.network.proxy import run_proxy

__all__ = ["DelayLine", "Profile", "get_profile", "run_proxy"]
