"""Every error the simulator raises on purpose; knows nothing else.

SimulatorError
├── ProfileError     a profile is unknown, or one of its values is out of range
└── ProxyError       the live proxy cannot start: bad address, or port in use

Messages give the name, the allowed range and the value, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SimulatorError(Exception):
    """Base of every error the simulator raises on purpose."""


class ProfileError(SimulatorError):
    """A profile is unknown, or one of its values is out of range."""


class ProxyError(SimulatorError):
    """The live proxy cannot start: an address is bad or its port is in use."""


def unknown(kind: str, name: str, known: Iterable[str]) -> SimulatorError:
    """The error for a name that is none of `known` (at least one): the nearest, and all."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return SimulatorError(
        f"{kind} {name!r} is unknown; the nearest is {near[0]!r}; known: {', '.join(names)}"
    )
