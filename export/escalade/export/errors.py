"""Every error export raises on purpose; knows nothing else.

ExportError
├── ModelError         the model folder cannot be loaded or is of a kind not supported
├── OptionError        an option has a value that this format does not take
└── ExportParityError      the exported program does not answer as torch does
"""

from __future__ import annotations


class ExportError(Exception):
    """Base of every error export raises on purpose."""


class ModelError(ExportError):
    """The model cannot be loaded or is of a kind not supported."""


class OptionError(ExportError):
    """An option has a value that this format does not take."""


class ExportParityError(ExportError):
    """The exported program does not answer as torch does."""
