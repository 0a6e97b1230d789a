"""Every error the simulator raises on purpose; knows nothing else.

SimulatorError
├── FleetError       what is said of a fleet contradicts itself, or the fleet cannot be served
├── KernelError      the kernel does not make the network that it was asked for
├── LoadError        a plan for asking a live server contradicts itself, or is out of range
├── PlanError        a goal contradicts itself, is out of range, or needs what a trace lacks
├── ProfileError     a profile is unknown, or one of its values is out of range
└── ProxyError       the live proxy cannot start (address, port), or its control refuses

Messages give the name, the allowed range and the value, in one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from escalade.edge.base import nearest


class SimulatorError(Exception):
    """Base of every error the simulator raises on purpose."""


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Say of which trace it is that something inside is refused.

    Raises:
        SimulatorError: of the same kind as the one inside.
    """
    try:
        yield
    except SimulatorError as error:
        raise type(error)(f"{what}: {error}") from error


class FleetError(SimulatorError):
    """What is said of a fleet contradicts itself, or the fleet cannot be served."""


class KernelError(SimulatorError):
    """The kernel, or the programs that tell it, do not make the network that was asked for."""


class LoadError(SimulatorError):
    """A plan for asking a live server contradicts itself, or a value of it is out of range."""


class PlanError(SimulatorError):
    """A goal contradicts itself, is out of range, or needs what the trace does not have."""


class ProfileError(SimulatorError):
    """A profile is unknown, or one of its values is out of range."""


class ProxyError(SimulatorError):
    """The live proxy cannot start, or its control is out of reach or refuses."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is none of `known`: all of them, and the nearest."""
    names = list(known)
    return f"{kind} must be one of {', '.join(names)}; got {name!r}{nearest(name, names)}"
