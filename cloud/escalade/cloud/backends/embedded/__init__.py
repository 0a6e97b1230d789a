"""Backends that compute in this process, together or one at a time; know no gRPC."""

from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.factory import transformers_factory
from escalade.cloud.backends.embedded.response import Response

__all__ = ["EmbeddedBackend", "Response", "transformers_factory"]
