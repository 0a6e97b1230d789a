"""Every error the command line itself raises on purpose; knows nothing else.

CliError
├── MissingError     a file or folder that a verb needs is not there
├── DegradedError    the cloud was asked for and did not answer
├── WaitingError     queries of an outbox still wait
├── UntracedError    a query was answered, and its record could not be written
└── DemoError        a process of the demo did not start or ended early
"""

from __future__ import annotations


class CliError(Exception):
    """Base of every error the command line raises on purpose."""


class MissingError(CliError):
    """A file or folder that a verb needs is not there."""


class DegradedError(CliError):
    """The cloud was asked for and did not answer; the small model's answer was given."""


class WaitingError(CliError):
    """Queries of an outbox still wait: they were not answered, or somebody else is at them."""


class UntracedError(CliError):
    """A query was answered, and its record could not be added to the trace."""


class DemoError(CliError):
    """A process of the demo did not start or ended early."""
