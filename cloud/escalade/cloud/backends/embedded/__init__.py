"""The backend that computes in this process, one query at a time; knows no gRPC."""

from escalade.cloud.backends.embedded.factory import transformers_factory

__all__ = ["transformers_factory"]
