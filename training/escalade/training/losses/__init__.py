"""The losses of Cascade-Aware Training on tensors; knows no model and no data."""

from escalade.training.losses.filters import (
    LOSSES,
    Alpha,
    LossName,
    filters_by_teacher,
    looked_at,
    needs_distribution,
    needs_teacher,
)
from escalade.training.losses.losses import (
    CPU_CHUNK_BYTES,
    IGNORE,
    Predictions,
    TokenLoss,
    token_loss,
)

__all__ = [
    "CPU_CHUNK_BYTES",
    "IGNORE",
    "LOSSES",
    "Alpha",
    "LossName",
    "Predictions",
    "TokenLoss",
    "filters_by_teacher",
    "looked_at",
    "needs_distribution",
    "needs_teacher",
    "token_loss",
]
