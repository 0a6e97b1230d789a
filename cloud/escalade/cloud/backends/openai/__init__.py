"""Asks another server, in the language that OpenAI's API has become; knows no gRPC."""

from escalade.cloud.backends.openai.endpoint import SCHEME as OPENAI_SCHEME
from escalade.cloud.backends.openai.factory import openai_factory

__all__ = ["OPENAI_SCHEME", "openai_factory"]
