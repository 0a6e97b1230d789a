"""Backends that compute in other processes: their front end, and replicas of Ray Serve."""

from escalade.cloud.backends.replicas.factory import ray_factory
from escalade.cloud.backends.replicas.front import ReplicatedBackend
from escalade.cloud.backends.replicas.replicas import ReplicaEndedError, Replicas
from escalade.cloud.backends.replicas.scaling import Scaling

__all__ = ["ReplicaEndedError", "Replicas", "ReplicatedBackend", "Scaling", "ray_factory"]
