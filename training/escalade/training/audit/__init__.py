"""How often kept answers agree with the expert, without labels; knows no model and no stream."""

from escalade.training.audit.audit import ARL, Audit, AuditState
from escalade.training.audit.confidence_sequence import Interval

__all__ = ["ARL", "Audit", "AuditState", "Interval"]
