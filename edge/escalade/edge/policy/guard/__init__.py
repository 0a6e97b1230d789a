"""Where bytes leave: each query is held against the policy, its budget, the user's word."""

from escalade.edge.policy.guard.budget import budget_path
from escalade.edge.policy.guard.guard import Guard
from escalade.edge.policy.guard.permit import Permit

__all__ = ["Guard", "Permit", "budget_path"]
