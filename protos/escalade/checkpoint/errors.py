"""Errors of reading a model's folder; every message names the folder.

ValueError
└── CheckpointError   the folder cannot be read, or says something that is not taken
"""

from __future__ import annotations


class CheckpointError(ValueError):
    """A model's folder cannot be read, or says something that is not taken."""


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line."""
    if isinstance(error, KeyError):  # says no more than the name
        return f"nothing is called {error}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # huggingface_hub names the field in the first line, and what is wrong with it in the second
    said = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."


# Of a line that a library says, in characters.
_LONGEST = 240
