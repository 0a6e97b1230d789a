"""The cloud: replicas, their queue and their scaling; knows no device and no gateway."""

from escalade.simulator.fleet.engine.servers.cloud.replicas import (
    AGAIN,
    LOOK,
    NOBODY,
    Cloud,
    complete,
    in_cloud,
    new_cloud,
    with_room,
)
from escalade.simulator.fleet.engine.servers.cloud.running import (
    arrive,
    come_to_cloud,
    count_use,
    new_job,
    next_to_cloud,
    run_cloud,
    take_cloud_call,
)
from escalade.simulator.fleet.engine.servers.cloud.scaling import come, coming_at, look
from escalade.simulator.fleet.engine.servers.cloud.unqueued import run_unqueued

__all__ = [
    "AGAIN",
    "LOOK",
    "NOBODY",
    "Cloud",
    "arrive",
    "come",
    "come_to_cloud",
    "coming_at",
    "complete",
    "count_use",
    "in_cloud",
    "look",
    "new_cloud",
    "new_job",
    "next_to_cloud",
    "run_cloud",
    "run_unqueued",
    "take_cloud_call",
    "with_room",
]
