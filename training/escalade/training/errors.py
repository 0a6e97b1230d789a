"""Every error training raises on purpose; knows nothing else.

TrainingError
├── RecipeError      a recipe has an unknown key or a value out of range
├── LossError        a loss was given what it cannot use, or is not finite
├── CacheError       a prediction cache is damaged, or was made for something else
├── TeacherError     the teacher does not fit the student (vocabulary, tokenizer)
├── AuditError       an audit has a setting out of range
└── SavingError      what was saved is not what was trained
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of every error training raises on purpose."""


class RecipeError(TrainingError):
    """A recipe has an unknown key or a value out of range."""


class TeacherError(TrainingError):
    """The teacher does not fit the student."""


class LossError(TrainingError):
    """A loss was given what it cannot use, or is not finite."""


class CacheError(TrainingError):
    """A prediction cache is damaged, or was made for other data or another teacher."""


class AuditError(TrainingError):
    """An audit has a setting out of range."""


class SavingError(TrainingError):
    """What was saved is not what was trained."""
