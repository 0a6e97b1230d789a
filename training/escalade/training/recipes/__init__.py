"""A recipe, read, checked and run; knows no loss's formula."""

from escalade.training.recipes.loading import fingerprint_of, load_teacher, open_checkpoint
from escalade.training.recipes.recipe import (
    DataTable,
    LoraTable,
    ModelTable,
    OptimTable,
    Recipe,
    RunTable,
    TeacherTable,
)
from escalade.training.recipes.resume import last_checkpoint, resume_training
from escalade.training.recipes.run import run_recipe
from escalade.training.recipes.teaching import Progress

__all__ = [
    "DataTable",
    "LoraTable",
    "ModelTable",
    "OptimTable",
    "Progress",
    "Recipe",
    "RunTable",
    "TeacherTable",
    "fingerprint_of",
    "last_checkpoint",
    "load_teacher",
    "open_checkpoint",
    "resume_training",
    "run_recipe",
]
