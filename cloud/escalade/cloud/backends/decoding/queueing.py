"""Which sequences join the batch, and who hears of them; knows no logits, no text, no rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import (
    FutureRequestState,
    GenerationOutput,
    RequestState,
    RequestStatus,
)
from transformers.generation.continuous_batching.scheduler import FIFOScheduler

from escalade.cloud.backends.decoding.runner import Ahead, Followed, keep_pages
from escalade.cloud.backends.drafts import MOST_AHEAD

# Tokens of drafts' rests in a step, of all sequences together. A step has a fixed cost and one for
# each token (`benchmarks.cloud.drafts` measures both): the more sequences share the first, the less
# a token saves that is right, so that few together may read far ahead and many may not.
_STEP_AHEAD = 32


class Scheduler(FIFOScheduler):
    """First come, first served, also when those who came first have left.

    The library's own takes no new sequence after one has lost its pages until another has
    finished: where all others are cancelled, none ever does.
    """

    #: By a sequence's name.
    followed: dict[str, Followed]
    #: Of the step at hand, what is read of drafts' rests, by a sequence's name.
    ahead: dict[str, Ahead]

    def schedule_batch(
        self, token_budget: int, cache_budget: int
    ) -> tuple[list[FutureRequestState] | None, bool, int, int]:
        """See `FIFOScheduler`."""
        self.ahead.clear()
        return super().schedule_batch(token_budget, cache_budget)

    def clear_cancelled_requests(self) -> list[RequestState]:
        """See `FIFOScheduler`."""
        cleared: list[RequestState] = super().clear_cancelled_requests()
        if cleared:
            self.block_new_requests = False
        return cleared

    def finish_request(self, request_id: str) -> None:
        """See `FIFOScheduler`; of a draft that was read, keep what its last step filled too.

        The library keeps no page of the step that a sequence ends with, and a draft may be read in
        one: who goes on from it would read all of it again.
        """
        state, followed = self.active_requests.get(request_id), self.followed.get(request_id)
        drafted = followed is not None and followed.draft_ids
        if state is not None and drafted and state.generated_tokens:
            keep_pages(self.cache, state)
        super().finish_request(request_id)

    def _schedule_request(
        self, state: RequestState, tokens: list[int], token_budget: int, removed: set[str]
    ) -> None:
        """See `FIFOScheduler`; with a new token, some of a draft's rest where there is room."""
        super()._schedule_request(state, tokens, token_budget, removed)
        followed = self.followed.get(state.request_id)
        if followed is None or followed.rest is None or state.remaining_prefill_tokens:
            return
        known = state.tokens_to_process
        share = _STEP_AHEAD // len(self.active_requests)
        ahead = followed.rest.next(min(MOST_AHEAD, share, token_budget - len(known)))
        if ahead and self.cache.can_store_request_tokens(state, len(known) + len(ahead)):
            state.tokens_to_process = [*known, *ahead]
        else:
            ahead = []
        self.ahead[state.request_id] = Ahead(followed, followed.rest, ahead)

    def _infer_request_tokens(self, state: RequestState, removed: set[str]) -> list[int]:
        """Where a prompt joins, take what the cache holds of it; of its draft nothing is taken.

        The logits at the draft's places are wanted, and are in no cache.
        """
        followed = self.followed.get(state.request_id)
        if followed is None or state.status != RequestStatus.PENDING:
            whole: list[int] = super()._infer_request_tokens(state, removed)
            return whole
        tokens = state.remaining_prefill_tokens
        draft = len(followed.draft_ids)
        prompt = len(tokens) - draft
        state.remaining_prefill_tokens = tokens[:prompt]
        super()._infer_request_tokens(state, removed)  # which never takes the whole
        state.remaining_prefill_tokens += tokens[prompt:]
        if followed.cached is None:
            followed.cached = int(state.position_offset)
        return state.remaining_prefill_tokens


class Router(OutputRouter):
    """Hands outputs to whoever waits for them, in the event loop, and drops all others.

    The library's own keeps what nobody waits for, which of cancelled sequences is for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        #: By a sequence's name; looked at in the loop alone.
        self.takers: dict[str, Callable[[GenerationOutput], None]] = {}

    def deliver(self, output: GenerationOutput) -> None:
        """See `OutputRouter`."""
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        """See `OutputRouter`."""
        with suppress(RuntimeError):  # the loop has ended, and nobody listens
            self._loop.call_soon_threadsafe(self._hand_out, outputs)

    def _hand_out(self, outputs: list[GenerationOutput]) -> None:
        for output in outputs:
            take = (
                self.takers.pop(output.request_id, None)
                if output.is_finished()
                else self.takers.get(output.request_id)
            )
            if take is not None:
                take(output)
