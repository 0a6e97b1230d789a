"""What a tier is: an artifact here, a remote, an ensemble of either; knows no cascade's file."""

from escalade.edge.tiers.device import ArtifactTier
from escalade.edge.tiers.ensemble import (
    EnsembleTier,
    RemoteEnsembleTier,
    RemoteMember,
    check_comparable,
    votes_of,
)
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.query import Prompt, Query, query_of
from escalade.edge.tiers.remote import Acceptance, AcceptanceRule, Drafts, PromptForm, RemoteTier
from escalade.edge.tiers.shared import SharedTier
from escalade.edge.tiers.tier import Call, Draft, Said, Tier
from escalade.edge.tiers.turns import TurnLock, in_order

__all__ = [
    "Acceptance",
    "AcceptanceRule",
    "ArtifactTier",
    "Call",
    "Draft",
    "Drafts",
    "EnsembleTier",
    "Member",
    "Prompt",
    "PromptForm",
    "Prompts",
    "Query",
    "RemoteEnsembleTier",
    "RemoteMember",
    "RemoteTier",
    "Said",
    "SharedTier",
    "Tier",
    "TurnLock",
    "check_comparable",
    "in_order",
    "query_of",
    "votes_of",
]
