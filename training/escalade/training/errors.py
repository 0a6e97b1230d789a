"""Every error training raises on purpose; knows nothing else.

TrainingError
├── RecipeError      a recipe has an unknown key or a value out of range
└── TeacherError     the teacher does not fit the student (vocabulary, tokenizer)
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of every error training raises on purpose."""


class RecipeError(TrainingError):
    """A recipe has an unknown key or a value out of range."""


class TeacherError(TrainingError):
    """The teacher does not fit the student."""
