"""Every error the cloud raises on purpose; knows neither gRPC nor an engine.

ServeError
├── StartError                   the server cannot start
│   ├── ListenError              an address is malformed, in use, or exposed without TLS
│   ├── TlsError                 a certificate or key is missing or does not load
│   ├── TokensError              a file of tokens cannot be read, or says what cannot be
│   └── ModelError               a model or its tokenizer does not load
└── RequestError                 one request is refused; `status.py` says how it travels
    ├── FieldError               one field of the request is wrong (carries its name)
    │   ├── PromptEmptyError
    │   ├── PromptTooLongError
    │   ├── TokenOutOfRangeError
    │   └── OptionOutOfRangeError
    ├── TokenizerMismatchError   token ids of another tokenizer
    ├── ModelMismatchError       the client expects another model
    ├── LoopError                the query has come through this gateway before
    ├── StreamChangedError       the answer does not begin with what the client has of it
    ├── ComeBackError            not now (carries when to come back)
    │   ├── QueueFullError       too many requests wait
    │   └── QuotaExceededError   the client has used up what it may ask for
    ├── UnauthenticatedError     no token that is known and valid
    ├── DrainingError            the server is shutting down
    ├── EngineDeadError          the engine failed
    ├── NotSupportedError        this server does not offer the RPC, or the option
    └── DeadlineError            the time ran out before the answer was whole

Messages give the name, the allowed range and the value, in one line.
"""

from __future__ import annotations


class ServeError(Exception):
    """Base of every error the cloud raises on purpose."""


class StartError(ServeError):
    """The server cannot start."""


class ListenError(StartError):
    """An address is malformed, in use, or would be exposed without TLS."""


class TlsError(StartError):
    """A certificate or a key is missing or does not load."""


class TokensError(StartError):
    """A file of tokens cannot be read, or says what cannot be."""


class ModelError(StartError):
    """A model or its tokenizer does not load, or lacks what serving needs."""


class RequestError(ServeError):
    """One request is refused."""


class FieldError(RequestError):
    """One field of the request is wrong.

    Attributes:
        field: path of the field in the request, e.g. `stopping.max_new_tokens`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class PromptEmptyError(FieldError):
    """The prompt holds no text and no tokens."""


class PromptTooLongError(FieldError):
    """The prompt leaves no room for an answer within the context length."""


class TokenOutOfRangeError(FieldError):
    """A token id is not in the model's vocabulary."""


class OptionOutOfRangeError(FieldError):
    """An option has a value that this server does not take."""


class TokenizerMismatchError(RequestError):
    """Token ids belong to another tokenizer."""


class ModelMismatchError(RequestError):
    """The client expects another model."""


class LoopError(RequestError):
    """The query has come through this gateway before."""


class StreamChangedError(RequestError):
    """The answer does not begin with what the client has of it."""


class ComeBackError(RequestError):
    """Not now.

    Attributes:
        retry_after_s: seconds after which it is worth another try.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(ComeBackError):
    """Too many requests wait already."""


class QuotaExceededError(ComeBackError):
    """The client has used up what it may ask for."""


class UnauthenticatedError(RequestError):
    """The request carries no token that is known and valid."""


class DrainingError(RequestError):
    """The server is shutting down and takes no new request."""

    def __init__(self) -> None:
        super().__init__("server: shutting down; ask another one")


class EngineDeadError(RequestError):
    """The engine failed while it computed the answer."""


class NotSupportedError(RequestError):
    """This server does not offer the RPC, or the option."""


class DeadlineError(RequestError):
    """The request's time ran out before its answer was whole."""
