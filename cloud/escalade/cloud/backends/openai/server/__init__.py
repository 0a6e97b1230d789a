"""The other server over HTTP: where it is, what it is asked, what it says; knows no backend."""

from escalade.cloud.backends.openai.server.asking import BEST_TWO, Offer
from escalade.cloud.backends.openai.server.endpoint import SCHEME, endpoint_of
from escalade.cloud.backends.openai.server.replies import (
    Choice,
    Reply,
    Token,
    check_ids,
    checked,
    choice_of,
    finish_of,
    garbage,
    reply_of,
    tokens_of,
)
from escalade.cloud.backends.openai.server.upstream import (
    ENTRY_BYTES,
    ENVELOPE_BYTES,
    MODELS,
    NO_ACCESS,
    TOKEN_BYTES,
    Upstream,
    http_status_of,
    together,
)

__all__ = [
    "BEST_TWO",
    "ENTRY_BYTES",
    "ENVELOPE_BYTES",
    "MODELS",
    "NO_ACCESS",
    "SCHEME",
    "TOKEN_BYTES",
    "Choice",
    "Offer",
    "Reply",
    "Token",
    "Upstream",
    "check_ids",
    "checked",
    "choice_of",
    "endpoint_of",
    "finish_of",
    "garbage",
    "http_status_of",
    "reply_of",
    "together",
    "tokens_of",
]
