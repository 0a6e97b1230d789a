"""Networks: profiles, the delay line, the live proxy; knows no trace."""

from escalade.simulator.network.clock import LiveClock
from escalade.simulator.network.delay_line import DelayLine, steady_release_s
from escalade.simulator.network.links import Network, networks_named
from escalade.simulator.network.opening import ready_s
from escalade.simulator.network.pings import Pings, ping
from escalade.simulator.network.profiles import (
    PAPERS_DELAYS,
    Profile,
    Profiles,
    get_profile,
    profiles_with,
    read_mahimahi,
)
from escalade.simulator.network.proxy import run_proxy
from escalade.simulator.network.rows import (
    profiles_table,
    report_lines,
    report_of,
    row_of,
)
from escalade.simulator.network.stages import Conditions

__all__ = [
    "PAPERS_DELAYS",
    "Conditions",
    "DelayLine",
    "LiveClock",
    "Network",
    "Pings",
    "Profile",
    "Profiles",
    "get_profile",
    "networks_named",
    "ping",
    "profiles_table",
    "profiles_with",
    "read_mahimahi",
    "ready_s",
    "report_lines",
    "report_of",
    "row_of",
    "run_proxy",
    "steady_release_s",
]
