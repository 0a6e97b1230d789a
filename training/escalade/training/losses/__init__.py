"""The losses of Cascade-Aware Training on tensors; knows no model and no data."""

from escalade.training.losses.losses import (
    CPU_CHUNK_BYTES,
    IGNORE,
    LOSSES,
    LossName,
    Predictions,
    TokenLoss,
    needs_distribution,
    needs_teacher,
    token_loss,
)

__all__ = [
    "CPU_CHUNK_BYTES",
    "IGNORE",
    "LOSSES",
    "LossName",
    "Predictions",
    "TokenLoss",
    "needs_distribution",
    "needs_teacher",
    "token_loss",
]
