"""A backend that computes nothing: it says what it was given to say; knows no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from escalade.cloud.backends import Answer, Backend, BackendInfo, Delta, Places, Query, Ticket
from escalade.v1 import cascade_pb2 as pb

FINGERPRINT = "f" * 64
CAPACITY = 64


class Nothing(Backend):
    """Knows its answer; for those who may wait a queue may be full."""

    info = BackendInfo(
        model=pb.ModelIdentity(name="none", tokenizer_fingerprint=FINGERPRINT, revision="0" * 64),
        engine="none",
        parameter_count=1,
        vocabulary_size=100,
        context_length=256,
        end_of_sequence_ids=(2,),
        longest_token_bytes=8,
        max_new_tokens=128,
        queue_capacity=CAPACITY,
        capabilities=(pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM),
        tiers=(pb.TierDescription(tier="cloud"),),
    )

    def __init__(
        self, tokens: int, delta: Delta, *, step_s: float = 0.0, full: Places | None = None
    ) -> None:
        """Say so many tokens.

        Args:
            tokens: of an answer, beside the end-of-sequence token.
            delta: what a stream says of each.
            step_s: after each of a stream.
            full: refuses requests that may wait.
        """
        self._tokens, self._delta, self._step_s, self._full = tokens, delta, step_s, full
        member = pb.MemberReport(model=pb.ModelIdentity(name="none"), parameter_count=1)
        report = pb.TierReport(tier="cloud", place=pb.PLACE_CLOUD, members=[member])
        self._whole = Answer(
            token_ids=[5] * tokens,
            logprobs=[-0.1] * (tokens + 1),
            margins=[],
            end_id=2,
            text="a " * tokens,
            stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
            prompt_tokens=8,
            generated_tokens=tokens + 1,
            reports=(report,),
        )

    async def load(self) -> None:
        """See `Backend`."""

    def close(self) -> None:
        """See `Backend`."""

    def health(self) -> bool:
        """See `Backend`."""
        return True

    def check_room(self, ticket: Ticket) -> None:
        """See `Backend`."""
        if self._full is not None and ticket.claim.batch:
            self._full.check(ticket)

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        """See `Backend`."""
        if query.streamed:
            for _ in range(self._tokens):
                yield self._delta
                await asyncio.sleep(self._step_s)  # each is a message of its own
        yield Delta(answer=self._whole)
