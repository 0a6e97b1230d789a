"""What each matrix may be stored in, and what that costs; writes nothing."""

from escalade.export.onnx.choosing.survey import budget_of

__all__ = [
    "budget_of",
]
