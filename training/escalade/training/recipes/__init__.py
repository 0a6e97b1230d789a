"""A recipe, read, checked and run; knows no loss's formula."""

from escalade.training.recipes.loading import fingerprint_of, load_teacher, open_checkpoint
from escalade.training.recipes.resume import last_checkpoint, resume_training
from escalade.training.recipes.run import run_recipe

__all__ = [
    "fingerprint_of",
    "last_checkpoint",
    "load_teacher",
    "open_checkpoint",
    "resume_training",
    "run_recipe",
]
