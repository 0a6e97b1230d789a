"""A recipe, read, checked and run; knows no loss's formula.

A name is loaded when it is asked for: torch takes seconds.
"""

from typing import TYPE_CHECKING

from escalade.v1.lazy import lazy

if TYPE_CHECKING:
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
else:
    _HOMES = {
        "DataTable": "recipe",
        "LoraTable": "recipe",
        "ModelTable": "recipe",
        "OptimTable": "recipe",
        "Progress": "teaching",
        "Recipe": "recipe",
        "RunTable": "recipe",
        "TeacherTable": "recipe",
        "fingerprint_of": "loading",
        "last_checkpoint": "resume",
        "load_teacher": "loading",
        "open_checkpoint": "loading",
        "resume_training": "resume",
        "run_recipe": "run",
    }

    __getattr__, __dir__ = lazy(__name__, _HOMES)

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
