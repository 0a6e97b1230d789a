"""Asks another server, in the language that OpenAI's API has become; knows no gRPC."""

from escalade.cloud.backends.openai.factory import openai_factory
from escalade.cloud.backends.openai.server import SCHEME as OPENAI_SCHEME

__all__ = ["OPENAI_SCHEME", "openai_factory"]
