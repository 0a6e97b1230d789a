"""What an outbox holds of a query, and how it is written; knows no file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from escalade.edge.tiers import Draft, Query

State = Literal["waiting", "answered", "refused"]
# As far as the calendar of Python goes, the end of the year 9999.
Moment = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A query that goes on, and from where."""

    #: With the id that it was asked under and always will be.
    query: Query
    #: The tier that did not answer, which is asked again.
    tier: str
    #: What the tiers below said; sent along again, so that a server knows the request.
    draft: Draft | None
    #: What the query was to the first model that read it.
    prompt: str
    #: The best answer so far, which was given.
    given: str
    #: Why there is no better one.
    reason: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A query in an outbox, and what became of it."""

    id: str
    state: State
    tier: str
    prompt: str
    given: str
    #: Why it waits, or was refused.
    reason: str
    #: Seconds since 1970, as this machine's clock had it.
    kept_at: Moment
    #: How often it was asked from here.
    tries: int
    #: Once it is answered: the text, the tier whose it is, and when.
    answer: str | None
    answered_by: str | None
    settled_at: Moment | None


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked again."""

    query: Query
    draft: Draft | None


# Not JSON, which has no infinite log-probability.
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Work)


def encode_work(kept: Kept) -> bytes:
    """The bytes that stand for it."""
    return _encoder.encode(Work(query=kept.query, draft=kept.draft))


def decode_work(data: bytes) -> Work:
    """What they stand for.

    Raises:
        ValueError: they are of another version, or nothing of ours.
    """
    return _decoder.decode(data)
