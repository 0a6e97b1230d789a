"""Asks a stream's reader before its query leaves the device; knows no HTTP, no policy's table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from escalade.edge.endpoint.answering.showing import Event, Show
from escalade.edge.policy import NobodyToAskError, PendingConsent, Question
from escalade.edge.tiers import Query

#: A block in which a person is waited for.
Waiting = Callable[[], AbstractContextManager[None]]


class _Reader(NamedTuple):
    show: Show
    waiting: Waiting


class Readers:
    """Who reads which query's stream. A query that is not streamed has nobody to ask, and stays."""

    def __init__(self) -> None:
        self._pending = PendingConsent(self._tell)
        self._readers: dict[str, _Reader] = {}

    @contextmanager
    def reading(self, query: Query, show: Show | None, waiting: Waiting) -> Iterator[Query]:
        """The query under an id of its own, whose reader may be asked until the block ends.

        Args:
            query: of a request.
            show: shows its reader something; None: nobody reads a stream of it.
            waiting: see there.
        """
        if show is None:
            yield query
            return
        named = replace(query, request_id=query.request_id or uuid.uuid4().hex)
        self._readers[named.request_id] = _Reader(show, waiting)
        try:
            yield named
        finally:
            del self._readers[named.request_id]

    def ask(self, question: Question) -> bool:
        """A policy's `Consent`.

        Raises:
            NobodyToAskError: nobody reads a stream of this query.
        """
        with self._of(question).waiting():
            return self._pending(question)

    def answer(self, key: str, *, agreed: bool) -> bool:
        """Give a reader's word, from any thread; see `PendingConsent.answer`."""
        return self._pending.answer(key, agreed=agreed)

    def _of(self, question: Question) -> _Reader:
        found = self._readers.get(question.request_id)
        if found is None:
            raise NobodyToAskError(
                'send = "ask", and only who reads a stream is asked: the request had no "stream":'
                " true"
            )
        return found

    def _tell(self, key: str, question: Question) -> None:
        texts = None if question.texts is None else list(question.texts)
        self._of(question).show(
            Event(
                {
                    "event": "consent",
                    "key": key,
                    "tier": question.tier,
                    "address": question.address,
                    "texts": texts,
                },
                asks=True,
            )
        )
