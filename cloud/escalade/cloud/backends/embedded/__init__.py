"""Backends that compute in this process, together or one at a time; know no gRPC."""

from escalade.cloud.backends.embedded.factory import transformers_factory

__all__ = ["transformers_factory"]
