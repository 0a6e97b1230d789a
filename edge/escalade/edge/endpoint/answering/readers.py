"""Asks a stream's reader before its query leaves the device; knows no HTTP, no policy's table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from escalade.edge.endpoint.answering.showing import Event, Show
from escalade.edge.policy import PendingConsent, Question
from escalade.edge.tiers import Query


class Readers:
    """Who reads which query's stream. A query that is not streamed has nobody to ask, and stays."""

    def __init__(self) -> None:
        #: A policy's `consent`; a reader's word is given here, from any thread.
        self.pending = PendingConsent(self._tell)
        self._shows: dict[str, Show] = {}

    @contextmanager
    def reading(self, query: Query, show: Show | None) -> Iterator[Query]:
        """The query under an id of its own, whose reader may be asked until the block ends."""
        if show is None:
            yield query
            return
        named = replace(query, request_id=query.request_id or uuid.uuid4().hex)
        self._shows[named.request_id] = show
        try:
            yield named
        finally:
            del self._shows[named.request_id]

    def _tell(self, key: str, question: Question) -> None:
        show = self._shows.get(question.request_id)
        if show is None:
            raise LookupError("nobody reads a stream of this query, who could be asked")
        texts = None if question.texts is None else list(question.texts)
        show(
            Event(
                {
                    "event": "consent",
                    "key": key,
                    "tier": question.tier,
                    "address": question.address,
                    "texts": texts,
                }
            )
        )
