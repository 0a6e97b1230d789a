"""An opened artifact: text in, scored tokens out, piece by piece; knows no network."""

from escalade.edge.generation.artifact import Artifact
from escalade.edge.generation.generation import Delta, StopReason, find_stop

__all__ = ["Artifact", "Delta", "StopReason", "find_stop"]
