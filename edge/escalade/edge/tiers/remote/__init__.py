"""A tier over the network: what leaves, what comes back; knows no ensemble."""

from escalade.edge.tiers.remote.outgoing import Outgoing
from escalade.edge.tiers.remote.remote import RemoteTier
from escalade.edge.tiers.remote.request import Acceptance, AcceptanceRule, Drafts, PromptForm

__all__ = [
    "Acceptance",
    "AcceptanceRule",
    "Drafts",
    "Outgoing",
    "PromptForm",
    "RemoteTier",
]
