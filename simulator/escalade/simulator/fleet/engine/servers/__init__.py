"""What a fleet's calls come to: gateways, and the cloud with its queue and scaling; no device."""

from escalade.simulator.fleet.engine.servers.cloud import (
    count_use,
    in_cloud,
    new_cloud,
    run_cloud,
    run_unqueued,
    with_room,
)
from escalade.simulator.fleet.engine.servers.gateways import (
    at_gateways,
    new_serving,
    run_gateways,
    say_gateways,
    with_jobs,
)

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
