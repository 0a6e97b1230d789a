"""Every error the simulator raises on purpose; knows nothing else.

SimulatorError
├── ProfileError     a profile is unknown, or one of its values is out of range
└── ProxyError       the live proxy cannot start: bad address, or port in use

Messages give the name, the allowed range and the value, in one line.
"""

from __future__ import annotations


class SimulatorError(Exception):
    """Base of every error the simulator raises on purpose."""


class ProfileError(SimulatorError):
    """A profile is unknown, or one of its values is out of range."""


class ProxyError(SimulatorError):
    """The live proxy cannot start: an address is bad or its port is in use."""
