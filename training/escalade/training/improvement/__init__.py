"""What the next version of a small language model learns from; trains and exports nothing."""

from escalade.training.improvement.configuration import Improvement, read_improvement, recipe_of
from escalade.training.improvement.dividing import divide, replayed
from escalade.training.improvement.heard import finished, hear

__all__ = [
    "Improvement",
    "divide",
    "finished",
    "hear",
    "read_improvement",
    "recipe_of",
    "replayed",
]
