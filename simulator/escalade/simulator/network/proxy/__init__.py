"""The live proxy: a network between two sockets, changed over HTTP; knows no gRPC, no trace."""

from escalade.simulator.network.proxy.control import ProxyState
from escalade.simulator.network.proxy.control_client import ControlClient
from escalade.simulator.network.proxy.proxy import Proxy
from escalade.simulator.network.proxy.running import run_proxy

__all__ = ["ControlClient", "Proxy", "ProxyState", "run_proxy"]
