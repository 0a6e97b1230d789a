"""An opened artifact: text in, scored tokens out, piece by piece; knows no network."""

from escalade.edge.generation.artifact import Artifact
from escalade.edge.generation.checking import (
    check_opens,
    open_with_kernels,
    play_golden,
)
from escalade.edge.generation.generation import Delta, Generation, StopReason
from escalade.edge.generation.sentence_encoder import SentenceEncoder
from escalade.edge.generation.texts import Reading, TokenTexts

__all__ = [
    "Artifact",
    "Delta",
    "Generation",
    "Reading",
    "SentenceEncoder",
    "StopReason",
    "TokenTexts",
    "check_opens",
    "open_with_kernels",
    "play_golden",
]
