"""Encoders of transformers as levels; apart, for torch takes seconds to load."""

from escalade.training.online.encoders.encoder import EncoderLevel, EncoderSettings
from escalade.training.online.encoders.kept import forget_states

__all__ = ["EncoderLevel", "EncoderSettings", "forget_states"]
