"""Every error the command line itself raises on purpose; knows nothing else.

CliError
├── MissingError     a file or folder that a verb needs is not there
├── DegradedError    the cloud was asked for and did not answer
├── TokenFileError   a file of tokens cannot be read or changed
├── WaitingError     queries of an outbox still wait
├── UntracedError    a query was answered, and its record could not be written
├── UnhealthyError   a server does not say that it serves
├── UnansweredError  a server was asked many requests and answered none
└── DemoError        a process of the demo did not start or ended early
"""

from __future__ import annotations


class CliError(Exception):
    """Base of every error the command line raises on purpose."""


class MissingError(CliError):
    """A file or folder that a verb needs is not there."""


class DegradedError(CliError):
    """The cloud was asked for and did not answer; the small model's answer was given."""


class TokenFileError(CliError):
    """A file of tokens cannot be read or changed."""


class WaitingError(CliError):
    """Queries of an outbox still wait: they were not answered, or somebody else is at them."""


class UntracedError(CliError):
    """A query was answered, and its record could not be added to the trace."""


class UnhealthyError(CliError):
    """A server does not answer, or says that it does not serve."""


class UnansweredError(CliError):
    """A server was asked many requests and answered none."""


class DemoError(CliError):
    """A process of the demo did not start or ended early."""
