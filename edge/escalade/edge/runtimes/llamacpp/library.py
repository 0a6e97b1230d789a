"""llama.cpp by its C interface, as llama-cpp-python's ctypes have it; knows no artifact.

The library is set up here once for the process: what it says goes nowhere, but for its errors,
which whoever meets a failure passes on.
"""

from __future__ import annotations

import ctypes
from collections import deque

from escalade.edge.errors import ArtifactError

try:
    import llama_cpp
except (ImportError, OSError, RuntimeError) as error:  # the last two: no library of this machine
    raise ArtifactError(
        "GGUF programs take llama.cpp: install the extra, pip install 'escalade[gguf]'"
        f" ({str(error).splitlines()[0]})"
    ) from error

__all__ = ["forget_errors", "last_error", "llama_cpp"]

_ERROR = 4  # of enum ggml_log_level, ggml.h
# What a failed loading says: the first line is the cause, the others where it was met.
_MOST_LINES = 8
_said: deque[str] = deque(maxlen=_MOST_LINES)


def _keep(level: int, text: bytes, _: object) -> None:
    if level == _ERROR:
        _said.append(text.decode(errors="replace").strip())


# Held here for as long as llama.cpp may call it.
_keeps = llama_cpp.llama_log_callback(_keep)


def forget_errors() -> None:
    """Begin anew, before something that may fail."""
    _said.clear()


def last_error() -> str:
    """What llama.cpp said went wrong since `forget_errors`, in a line."""
    if not _said:
        return "it does not say why"
    return _said[0].rpartition(": error ")[2] or _said[0]


llama_cpp.llama_backend_init()
llama_cpp.llama_log_set(_keeps, ctypes.c_void_p(0))  # after the import, which sets one of its own
