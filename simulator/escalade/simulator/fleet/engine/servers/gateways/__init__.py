"""Gateways between devices and the cloud; knows neither of these."""

from escalade.simulator.fleet.engine.servers.gateways.passing import run_gateways
from escalade.simulator.fleet.engine.servers.gateways.serving import (
    at_gateways,
    new_serving,
    say_gateways,
    with_jobs,
)

__all__ = ["at_gateways", "new_serving", "run_gateways", "say_gateways", "with_jobs"]
