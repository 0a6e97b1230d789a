"""A recipe, read, checked and run; knows no loss's formula."""

from escalade.training.recipes.loading import fingerprint_of, load_teacher, open_checkpoint
from escalade.training.recipes.resume import continue_from, last_checkpoint
from escalade.training.recipes.run import run_recipe

__all__ = [
    "continue_from",
    "fingerprint_of",
    "last_checkpoint",
    "load_teacher",
    "open_checkpoint",
    "run_recipe",
]
