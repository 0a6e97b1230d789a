"""Every error the edge raises on purpose; knows nothing else.

EdgeError
├── ArtifactError        a file is missing, altered, or not what the manifest says
│   ├── ParityError      the program does not give the golden answers
│   └── SignatureError   it is not signed, or not by the key that is trusted
├── StoreError           a version cannot be fetched, kept or switched to
├── DataError            a record file or trace cannot be read
│   ├── InUseError       another process has it all the time that one may wait
│   └── NoRoomError      a disk is full, or a quota or a limit is reached
├── CascadeError         a cascade's file does not fit together
├── PromptError          a prompt is empty, too long, or not text
│   └── TooLongError     it does not fit into the model's window
├── CalibrationError     a threshold cannot be set from this data
├── OutboxError          a query cannot be kept, or what is kept cannot be read
├── EndpointError        an endpoint cannot listen as it is asked to
├── RefusedError         an endpoint refuses a request (carries what OpenAI's clients read)
├── BudgetError          what was spent today cannot be kept or read
└── CloudError           the cloud refused or did not answer (carries a stable reason)
    └── PolicyError      it was not asked: this device's policy keeps the query here

Messages give the name, the allowed range and the value, in one line.
"""

from __future__ import annotations

from typing import Literal

#: What a failure speaks of: the query, which would always end so; a server that is there and does
#: not answer it now; or the link, or a server that is not there.
Cause = Literal["query", "server", "link"]


class EdgeError(Exception):
    """Base of every error the edge raises on purpose."""


class ArtifactError(EdgeError):
    """A file is missing, altered, or not what the manifest says."""


class ParityError(ArtifactError):
    """The program does not reproduce the golden answers."""


class SignatureError(ArtifactError):
    """The artifact is not signed, or not by the key that is trusted."""


class StoreError(EdgeError):
    """A version cannot be fetched, kept or switched to; the current one is as it was."""


class DataError(EdgeError):
    """A record file or a trace cannot be read."""


class InUseError(DataError):
    """Another process has a file or a folder all the time that one may wait for it."""


class NoRoomError(DataError):
    """What is to be written finds no room: a disk is full, or a quota or a limit is reached."""


class CascadeError(EdgeError):
    """A cascade's file cannot be read, or its tiers, members and gates do not fit together."""


class PromptError(EdgeError):
    """A prompt is empty, too long for the model's window, or not text."""


class TooLongError(PromptError):
    """A prompt does not fit into the model's window beside an answer."""


class CalibrationError(EdgeError):
    """A threshold cannot be set from this data."""


class OutboxError(EdgeError):
    """A query cannot be kept for later, or the file of those that are cannot be read."""


class EndpointError(EdgeError):
    """An endpoint cannot listen as it is asked to."""


class RefusedError(EdgeError):
    """An endpoint refuses a request, in the words of OpenAI's API.

    Attributes:
        status: of HTTP.
        code: a stable word for the cause, e.g. `unsupported_parameter`.
        param: the field of the request that it is about; None where it is about none.
        retry_after_s: whole seconds after which it may be asked again; None: nobody knows.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


class BudgetError(EdgeError):
    """What was spent of a day's budget cannot be kept, or the file of it cannot be read."""


class CloudError(EdgeError):
    """The cloud refused the query or did not answer.

    Attributes:
        reason: a stable word for the cause, e.g. `UNAVAILABLE` or `MODEL_MISMATCH`.
        cause: see `Cause`.
    """

    def __init__(self, reason: str, message: str, *, cause: Cause = "query") -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.cause: Cause = cause


class PolicyError(CloudError):
    """The cloud was not asked: this device's policy keeps the query here, and nothing was sent."""
