"""Encoders of transformers as levels; apart, for torch takes seconds to load."""

from escalade.training.online.encoders.encoder import EncoderLevel, EncoderSettings

__all__ = ["EncoderLevel", "EncoderSettings"]
