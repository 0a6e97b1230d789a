"""What a fleet's calls come to: gateways, and the cloud with its queue and scaling; no device."""

from escalade.simulator.fleet.engine.servers.gateways import (
    at_gateways,
    new_serving,
    say_gateways,
    with_jobs,
)
from escalade.simulator.fleet.engine.servers.passing import run_gateways
from escalade.simulator.fleet.engine.servers.replicas import in_cloud, new_cloud, with_room
from escalade.simulator.fleet.engine.servers.running import count_use, run_cloud
from escalade.simulator.fleet.engine.servers.unqueued import run_unqueued

__all__ = [
    "at_gateways",
    "count_use",
    "in_cloud",
    "new_cloud",
    "new_serving",
    "run_cloud",
    "run_gateways",
    "run_unqueued",
    "say_gateways",
    "with_jobs",
    "with_room",
]
