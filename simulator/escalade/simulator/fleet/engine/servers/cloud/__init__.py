"""The cloud: replicas, their queue and their scaling; knows no device and no gateway."""

from escalade.simulator.fleet.engine.servers.cloud.replicas import in_cloud, new_cloud, with_room
from escalade.simulator.fleet.engine.servers.cloud.running import count_use, run_cloud
from escalade.simulator.fleet.engine.servers.cloud.unqueued import run_unqueued

__all__ = ["count_use", "in_cloud", "new_cloud", "run_cloud", "run_unqueued", "with_room"]
