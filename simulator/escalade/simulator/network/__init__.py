"""Networks: profiles, the delay line, the live proxy; knows no trace."""

from escalade.simulator.network.clock import FineLoop, LiveClock
from escalade.simulator.network.delay_lines import (
    Connections,
    DelayLine,
    answered_s,
    calls_s,
    draws_of,
    held_share,
    ready_s,
    uniforms,
)
from escalade.simulator.network.described import (
    Pings,
    ping,
    profiles_table,
    report_lines,
    report_of,
    row_of,
    span_s,
)
from escalade.simulator.network.framing import GRPC_BYTES_DOWN, GRPC_BYTES_UP
from escalade.simulator.network.kernel import (
    CLOUD,
    KernelNetwork,
    KernelPart,
    kernel_lacks,
    probe_kernel,
    shaping_lines,
)
from escalade.simulator.network.links import Network, networks_named
from escalade.simulator.network.profiles import (
    PAPERS_DELAYS,
    Profile,
    Profiles,
    get_profile,
    profiles_with,
    read_mahimahi,
)
from escalade.simulator.network.proxy import ControlClient, ProxyState, run_proxy
from escalade.simulator.network.stages import Conditions

__all__ = [
    "CLOUD",
    "GRPC_BYTES_DOWN",
    "GRPC_BYTES_UP",
    "PAPERS_DELAYS",
    "Conditions",
    "Connections",
    "ControlClient",
    "DelayLine",
    "FineLoop",
    "KernelNetwork",
    "KernelPart",
    "LiveClock",
    "Network",
    "Pings",
    "Profile",
    "Profiles",
    "ProxyState",
    "answered_s",
    "calls_s",
    "draws_of",
    "get_profile",
    "held_share",
    "kernel_lacks",
    "networks_named",
    "ping",
    "probe_kernel",
    "profiles_table",
    "profiles_with",
    "read_mahimahi",
    "ready_s",
    "report_lines",
    "report_of",
    "row_of",
    "run_proxy",
    "shaping_lines",
    "span_s",
    "uniforms",
]
