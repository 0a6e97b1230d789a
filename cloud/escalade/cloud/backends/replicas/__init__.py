"""Backends that compute in other processes, which Ray Serve starts and scales; know no gRPC."""

from escalade.cloud.backends.replicas.factory import ray_factory
from escalade.cloud.backends.replicas.scaling import Scaling

__all__ = ["Scaling", "ray_factory"]
