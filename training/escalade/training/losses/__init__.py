"""The losses of Cascade-Aware Training on tensors; knows no model and no data.

A name is loaded when it is asked for: torch takes seconds.
"""

from typing import TYPE_CHECKING

from escalade.v1.lazy import lazy

if TYPE_CHECKING:
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
else:
    _HOMES = {
        "Alpha": "filters",
        "CPU_CHUNK_BYTES": "losses",
        "IGNORE": "losses",
        "LOSSES": "filters",
        "LossName": "filters",
        "Predictions": "losses",
        "TokenLoss": "losses",
        "filters_by_teacher": "filters",
        "looked_at": "filters",
        "needs_distribution": "filters",
        "needs_teacher": "filters",
        "token_loss": "losses",
    }

    __getattr__, __dir__ = lazy(__name__, _HOMES)

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
