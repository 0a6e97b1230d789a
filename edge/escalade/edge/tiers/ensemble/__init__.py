"""Tiers of several members, here or remote, and when they agree; knows no cascade."""

from escalade.edge.tiers.ensemble.ensemble import EnsembleTier, votes_of
from escalade.edge.tiers.ensemble.members import check_comparable
from escalade.edge.tiers.ensemble.remote import RemoteEnsembleTier, RemoteMember

__all__ = [
    "EnsembleTier",
    "RemoteEnsembleTier",
    "RemoteMember",
    "check_comparable",
    "votes_of",
]
