"""A query x: one value that says what is asked and how it is to be answered; knows no tier."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.chat import Message
from escalade.edge.errors import PromptError
from escalade.edge.runtimes import Sampling
from escalade.v1.stop_text import MAX_STOP_BYTES, MAX_STOP_TEXTS

# No server is sent more than it takes (`MAX_NAME_BYTES`), whatever the characters are.
_LONGEST_ID = 64


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: a text, a conversation, or token ids; and how.

    Raises:
        ValueError: a stop text is empty or no text, there are too many, the deadline is not above
            0, `max_new_tokens` is below 1, or the id is too long or not printable.
    """

    #: As the user typed it.
    text: str = ""
    #: A conversation, for the chat template of each tier.
    messages: tuple[Message, ...] = ()
    #: Token ids with every special token, as a device sends them to a gateway; whose they are
    #: says the fingerprint.
    ids: tuple[int, ...] = ()
    tokenizer_fingerprint: str = ""
    #: Texts that end an answer before them, in every tier.
    stop: tuple[str, ...] = ()
    #: How tokens are drawn, on the device and elsewhere; None takes the likeliest, of which
    #: thresholds are calibrated.
    sampling: Sampling | None = None
    #: None takes each tier's own.
    max_new_tokens: int | None = None
    #: What kind of query it is, for a policy that keeps some here; empty: nobody said.
    task: str = ""
    #: Responses that count as correct, for a trace.
    references: tuple[str, ...] = ()
    #: For all of it, from the moment it is asked; None leaves the time to each link.
    deadline_s: float | None = None
    #: Whether tiers elsewhere send log-probabilities along where no gate here wants them.
    logprobs: bool = False
    #: How many of the likeliest tokens come with each token of an answer, see `Tier.most_top`.
    top_logprobs: int = 0
    #: Under which a server computes it once, however often it is sent; empty: one for each call.
    request_id: str = ""
    #: Gateways that it came through.
    via: tuple[str, ...] = ()
    #: Nobody waits for it just now: tiers elsewhere answer this client's others first.
    batch: bool = False

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if self.stop:
            _check_stop(self.stop)
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ValueError(f"deadline_s must be above 0, got {self.deadline_s}")
        if len(self.request_id) > _LONGEST_ID or not self.request_id.isprintable():
            raise ValueError(
                f"request_id must be at most {_LONGEST_ID} printable characters, got"
                f" {self.request_id[:80]!r}"
            )


def _check_stop(stops: Sequence[str]) -> None:
    if len(stops) > MAX_STOP_TEXTS:
        raise ValueError(f"stop texts must be at most {MAX_STOP_TEXTS}, got {len(stops)}")
    for stop in stops:
        if not stop:
            raise ValueError("a stop text must have at least 1 character, got ''")
        try:
            size = len(stop.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"a stop text must be valid Unicode text: {error}") from error
        if size > MAX_STOP_BYTES:
            raise ValueError(f"a stop text must be at most {MAX_STOP_BYTES} bytes, got {size}")


def query_of(prompt: Prompt) -> Query:
    """The query that a caller means.

    Raises:
        PromptError: a conversation without a message.
    """
    if isinstance(prompt, Query):
        return prompt
    if isinstance(prompt, str):
        return Query(text=prompt)
    if not prompt:
        raise PromptError("a conversation needs at least 1 message")
    return Query(messages=tuple(prompt))


#: What a caller may ask: a text, the messages of a conversation, or a whole query.
Prompt = str | Sequence[Message] | Query
