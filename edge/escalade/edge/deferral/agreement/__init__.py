"""What members of a tier agree on, and how far: votes and their like; knows no model, no tier."""

from escalade.edge.deferral.agreement.agreement import Agreement, Voice
from escalade.edge.deferral.agreement.asked import asked_of
from escalade.edge.deferral.agreement.medoid import Medoid
from escalade.edge.deferral.agreement.names import (
    EMBEDDING,
    VOTE,
    agreement_named,
    is_agreement,
    reads_logprobs,
)
from escalade.edge.deferral.agreement.vote import Vote

__all__ = [
    "EMBEDDING",
    "VOTE",
    "Agreement",
    "Medoid",
    "Voice",
    "Vote",
    "agreement_named",
    "asked_of",
    "is_agreement",
    "reads_logprobs",
]
