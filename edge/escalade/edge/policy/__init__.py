"""What may leave the device, and who says so; knows no tier, no channel and no model."""

from escalade.edge.policy.budget import budget_path
from escalade.edge.policy.guard import Guard, Permit
from escalade.edge.policy.patterns import LONGEST_TEXT, Patterns, UnreadableError
from escalade.edge.policy.providers import OWN, PendingConsent, Providers, Question
from escalade.edge.policy.redaction import Hidden
from escalade.edge.policy.rules import (
    OF_DEVICE,
    REASONS,
    Amount,
    Battery,
    Leaving,
    Rules,
    is_of_policy,
    judge_content,
    rules_of,
)
from escalade.edge.policy.table import PolicyTable

__all__ = [
    "LONGEST_TEXT",
    "OF_DEVICE",
    "OWN",
    "REASONS",
    "Amount",
    "Battery",
    "Guard",
    "Hidden",
    "Leaving",
    "Patterns",
    "PendingConsent",
    "Permit",
    "PolicyTable",
    "Providers",
    "Question",
    "Rules",
    "UnreadableError",
    "budget_path",
    "is_of_policy",
    "judge_content",
    "rules_of",
]
