"""A backend that counts the tokens of each client; knows no particular backend.

It counts what is computed, once: who asks again for the same answer, or follows another's, pays
nothing, and who leaves pays for what was computed until then. What an engine failed at, which is
asked again, nobody pays for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

import msgspec

from escalade.cloud.access.limits import Quotas
from escalade.cloud.backends import (
    Backend,
    BackendInfo,
    Delta,
    Gauge,
    Query,
    ScoredBatch,
    ScoreQuery,
    Ticket,
    Verdict,
)
from escalade.cloud.errors import EngineDeadError


class Metered(Backend):
    """Another backend, whose tokens are counted.

    Args:
        inner: computes.
        quotas: whose account is charged is the ticket's to say (`Claim.host`).
    """

    def __init__(self, inner: Backend, quotas: Quotas) -> None:
        self._inner, self._quotas = inner, quotas

    async def load(self) -> None:
        """See `Backend`."""
        await self._inner.load()

    def close(self) -> None:
        """See `Backend`."""
        self._inner.close()

    @property
    def info(self) -> BackendInfo:
        """See `Backend`."""
        return self._inner.info

    def health(self) -> bool:
        """See `Backend`."""
        return self._inner.health()

    def gauges(self) -> Iterable[Gauge]:
        """See `Backend`."""
        return self._inner.gauges()

    def check_room(self, ticket: Ticket) -> None:
        """See `Backend`."""
        self._inner.check_room(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        """See `Backend`."""
        owner, given, whole = ticket.claim.host, 0, None
        if self._quotas.counts(owner):
            # What has come is then known of one who leaves before the end.
            query = msgspec.structs.replace(query, streamed=True)
        try:
            async for delta in self._inner.generate(query, ticket):
                # Another server's text has no ids: a piece is about a token.
                given += len(delta.token_ids) or bool(delta.text)
                if delta.answer is not None:
                    whole = delta.answer.prompt_tokens + delta.answer.generated_tokens
                yield delta
        except EngineDeadError:
            whole = 0
            raise
        finally:
            self._quotas.charge(owner, ticket.prompt_tokens + given if whole is None else whole)

    async def score(
        self, queries: Iterable[ScoreQuery], top_k: int, ticket: Ticket
    ) -> AsyncGenerator[ScoredBatch, None]:
        """See `Backend`."""
        sizes: list[int] = []

        def noted() -> Iterator[ScoreQuery]:
            for query in queries:
                sizes.append(len(query.prompt_ids) + len(query.response_ids))
                yield query

        scored = 0
        batches = self._inner.score(noted(), top_k, ticket)
        try:
            async with aclosing(batches):
                async for batch in batches:
                    scored += len(batch.scores)
                    yield batch
        finally:
            self._quotas.charge(ticket.claim.host, sum(sizes[:scored]))

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Backend`."""
        draft = 0 if query.draft is None else len(query.draft.tokens.ids)
        read = None
        try:
            verdict = await self._inner.verify(query, ticket)
            read = verdict.prompt_tokens
            return verdict
        except EngineDeadError:
            read = 0
            raise
        finally:
            read = ticket.prompt_tokens if read is None else read
            self._quotas.charge(ticket.claim.host, read + draft if read else 0)
