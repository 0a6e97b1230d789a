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
    Bounds,
    as_many,
    at_gateways,
    new_bounds,
    new_serving,
    run_gateways,
    say_gateways,
    with_jobs,
)
from escalade.simulator.fleet.engine.servers.together import run_together

__all__ = [
    "Bounds",
    "as_many",
    "at_gateways",
    "count_use",
    "in_cloud",
    "new_bounds",
    "new_cloud",
    "new_serving",
    "run_cloud",
    "run_gateways",
    "run_together",
    "run_unqueued",
    "say_gateways",
    "with_jobs",
    "with_room",
]
