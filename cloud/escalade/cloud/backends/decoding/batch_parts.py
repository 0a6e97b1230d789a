"""What the batch does besides what the library's does; knows no queue, no text, no rule.

To the library a draft is the end of a prompt. Here the logits at the draft's places are kept, which
it would drop, and what its cache held of a prompt is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.generation.continuous_batching.input_outputs import ContinuousBatchingAsyncIOs
from transformers.generation.continuous_batching.model_runner import ModelRunner
from transformers.generation.continuous_batching.requests import RequestState, RequestStatus
from transformers.generation.continuous_batching.scheduler import FIFOScheduler

from escalade.cloud.backends.drafts import Choice, Reading


class Followed:
    """A sequence of the batch: what the thread notes of it.

    Args:
        prompt_tokens: before the draft.
        draft_ids: `(D,)`; empty where there is none.
    """

    def __init__(self, prompt_tokens: int, draft_ids: Sequence[int]) -> None:
        self.prompt_tokens = prompt_tokens
        self.draft_ids = draft_ids
        #: Tokens of the prompt that were in the cache when it joined; None before it does.
        self.cached: int | None = None
        self._own: dict[int, Choice] = {}
        self._logprobs: dict[int, float] = {}

    def note(self, place: int, logits: Tensor) -> None:
        """Keep what the model says from a place of the draft on, by `(N, V)` logits."""
        scores = logits.log_softmax(dim=-1)
        best = scores.topk(2).values.tolist()
        for at, (token, (first, second)) in enumerate(
            zip(logits.argmax(dim=-1).tolist(), best, strict=True), place
        ):
            self._own[at] = Choice(token, first, first - second)
        drafted = self.draft_ids[place : place + len(logits)]
        found = scores[range(len(drafted)), list(drafted)].tolist()
        self._logprobs.update(enumerate(found, place))

    def reading(self) -> Reading:
        """Of the whole draft, once its sequence has ended."""
        count = len(self.draft_ids)
        return Reading(
            [self._own[place] for place in range(count + 1)],
            [self._logprobs[place] for place in range(count)],
        )


class Scheduler(FIFOScheduler):
    """First come, first served, also when those who came first have left.

    The library's own takes no new sequence after one has lost its pages until another has
    finished: where all others are cancelled, none ever does.
    """

    #: By a sequence's name.
    followed: dict[str, Followed]

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
        if state is not None and followed is not None and followed.draft_ids:
            tokens = [*state.initial_tokens, *state.generated_tokens]
            if state.generated_tokens and self.cache.use_prefix_sharing:
                known = tokens[: min(state.position_offset, len(tokens) - 1)]
                for allocator in self.cache.cache_allocators.values():
                    allocator.mark_complete_blocks(request_id, known, len(known))
        super().finish_request(request_id)

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


class _Wanted(NamedTuple):
    """Rows of a step that a draft's reading wants."""

    followed: Followed
    #: In the draft, of the first row.
    place: int
    #: In the step's tokens.
    rows: range


class Runner(ModelRunner):
    """Keeps the logits at the places of drafts; the rest is the library's."""

    #: By a sequence's name.
    followed: dict[str, Followed]
    _wanted: Sequence[_Wanted] = ()

    @classmethod
    def in_place_of(cls, runner: ModelRunner, followed: dict[str, Followed]) -> Runner:
        """One that does what another does, and more."""
        made = cls(
            logit_processor=runner.logit_processor,
            cb_config=runner.cb_config,
            inputs_and_outputs=runner.inputs_and_outputs,
            cache=runner.cache,
            do_sample=runner.do_sample,
            return_logprobs=runner.return_logprobs,
        )
        made.followed = followed
        return made

    def compute_batch(self, model: nn.Module, batch_data: dict[str, Any]) -> None:
        """See `ModelRunner`."""
        self._wanted = list(self._wanted_now())
        if self._wanted:
            rows = [row for one in self._wanted for row in one.rows]
            indices = batch_data["logits_indices"]
            more = torch.tensor(rows, dtype=indices.dtype, device=indices.device)
            batch_data["logits_indices"] = torch.cat([indices, more])
        super().compute_batch(model, batch_data)

    def _get_forward_fn(self, use_block_table: bool) -> tuple[Callable[..., None], bool]:
        forward, graph = super()._get_forward_fn(use_block_table)
        # A recorded graph has rows of its own.
        return (self._forward_process_and_sample, False) if self._wanted else (forward, graph)

    def _wanted_now(self) -> Iterator[_Wanted]:
        io = self.inputs_and_outputs
        if isinstance(io, ContinuousBatchingAsyncIOs):
            io = io.io_pairs[io.current_pair].host_io
        begin = 0
        for one in io.requests_in_batch:
            end = begin + one.query_length
            followed = self.followed.get(one.state.request_id)
            if followed is not None and followed.draft_ids:
                # The token before the draft is the first that says something of it.
                place = one.state.position_offset - one.query_length - followed.prompt_tokens + 1
                skipped = max(0, -place)
                if skipped < one.query_length and place <= len(followed.draft_ids):
                    yield _Wanted(followed, place + skipped, range(begin + skipped, end))
            begin = end

    def _sample(self, scores: Tensor, output_ids: Tensor) -> None:
        more = sum(len(one.rows) for one in self._wanted)
        own = scores.shape[1] - more
        super()._sample(scores[:, :own], output_ids)
        at = own
        for one in self._wanted:
            one.followed.note(one.place, scores[0, at : at + len(one.rows)])
            at += len(one.rows)
