"""The cloud that a fleet's calls come to: replicas, their queue, scaling; knows no arrival."""

from escalade.simulator.fleet.engine.cloud.replicas import in_cloud, new_cloud, with_room
from escalade.simulator.fleet.engine.cloud.running import count_use, run_cloud
from escalade.simulator.fleet.engine.cloud.unqueued import run_unqueued

__all__ = ["count_use", "in_cloud", "new_cloud", "run_cloud", "run_unqueued", "with_room"]
