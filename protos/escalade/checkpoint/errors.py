"""Errors of reading a model's folder; every message names the folder.

ValueError
└── CheckpointError   the folder cannot be read, or says something that is not taken
"""

from __future__ import annotations


class CheckpointError(ValueError):
    """A model's folder cannot be read, or says something that is not taken."""


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
