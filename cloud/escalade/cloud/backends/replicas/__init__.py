"""Backends that compute in other processes, which Ray Serve starts and scales; know no gRPC."""

from escalade.cloud.backends.replicas.factory import Scaling, ray_factory

__all__ = ["Scaling", "ray_factory"]
