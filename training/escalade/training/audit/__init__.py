"""How often kept answers agree with the expert, without labels; knows no model and no stream."""

from escalade.training.audit.audit import ARL, Audit, AuditState
from escalade.training.audit.change_detector import BASELINE_ALPHA
from escalade.training.audit.confidence_sequence import Interval
from escalade.training.audit.versions import (
    Comparison,
    VersionAgreement,
    compare_versions,
    count_version,
)

__all__ = [
    "ARL",
    "BASELINE_ALPHA",
    "Audit",
    "AuditState",
    "Comparison",
    "Interval",
    "VersionAgreement",
    "compare_versions",
    "count_version",
]
