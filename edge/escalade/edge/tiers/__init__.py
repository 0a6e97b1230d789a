"""What a tier is: an artifact on this device, an ensemble, a remote; knows no file of a cascade."""

from escalade.edge.tiers.ensemble import (
    Ensemble,
    EnsembleAnswer,
    EnsembleFile,
    check_members,
    is_decided,
    vote_share,
)

__all__ = [
    "Ensemble",
    "EnsembleAnswer",
    "EnsembleFile",
    "check_members",
    "is_decided",
    "vote_share",
]
