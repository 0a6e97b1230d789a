"""What may leave the device, and who says so; knows no tier, no channel and no model."""

from escalade.edge.policy.content import ContentPolicy, content_sha256
from escalade.edge.policy.guard import Guard, Permit, budget_path
from escalade.edge.policy.providers import (
    SYSTEM_PROVIDERS,
    NobodyToAskError,
    PendingConsent,
    Providers,
    Question,
)
from escalade.edge.policy.redaction import Hidden
from escalade.edge.policy.rules import OF_DEVICE, Battery, Leaving, Spending, is_of_policy
from escalade.edge.policy.table import PolicyTable

__all__ = [
    "OF_DEVICE",
    "SYSTEM_PROVIDERS",
    "Battery",
    "ContentPolicy",
    "Guard",
    "Hidden",
    "Leaving",
    "NobodyToAskError",
    "PendingConsent",
    "Permit",
    "PolicyTable",
    "Providers",
    "Question",
    "Spending",
    "budget_path",
    "content_sha256",
    "is_of_policy",
]
