"""What the next version of a small language model learns from; trains and exports nothing."""

from escalade.training.improvement.configuration import (
    Improvement,
    read_improvement,
    recipe_of,
)
from escalade.training.improvement.dividing import Divided, divide, replayed
from escalade.training.improvement.heard import Heard, HeardCounts, finished, hear

__all__ = [
    "Divided",
    "Heard",
    "HeardCounts",
    "Improvement",
    "divide",
    "finished",
    "hear",
    "read_improvement",
    "recipe_of",
    "replayed",
]
