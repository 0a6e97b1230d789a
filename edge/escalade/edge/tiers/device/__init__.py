"""A tier of an artifact here, and how a member is heard; knows no remote."""

from escalade.edge.tiers.device.artifact import ArtifactTier
from escalade.edge.tiers.device.heard import Heard, Speaking, noticed, silently, speak, voices_among
from escalade.edge.tiers.device.rehearsal import Timed, drafted, is_rehearsed, rehearse

__all__ = [
    "ArtifactTier",
    "Heard",
    "Speaking",
    "Timed",
    "drafted",
    "is_rehearsed",
    "noticed",
    "rehearse",
    "silently",
    "speak",
    "voices_among",
]
