"""Runs the steps of a batch, for drafts and choosers too; knows no text, no queue.

To the library a draft is the end of a prompt, whose logits it drops: here they are kept. What is
read ahead of its rest is taken back where the model says something else. And the library draws for
all sequences or for none, from one generator: a sequence that draws alike whatever stands beside it
has a chooser of its own, which is given its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.generation.continuous_batching.cache_allocators import FULL_ATTENTION
from transformers.generation.continuous_batching.input_outputs import (
    ContinuousBatchingAsyncIOs,
    ContinuousBatchingIOs,
)
from transformers.generation.continuous_batching.model_runner import ModelRunner
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState

from escalade.cloud.backends.decoding.attention import Steps
from escalade.cloud.backends.decoding.choosing import Chooser
from escalade.cloud.backends.drafts import Choice, Reading, Rest
from escalade.cloud.backends.query import TopRow


class Followed:
    """A sequence of the batch: what the thread notes of it.

    Args:
        prompt_tokens: before the draft.
        draft_ids: `(D,)`; empty where there is none.
        chooser: how it chooses; None takes the likeliest tokens, and so does one with a draft.
        rest: of a draft that was read before; None where there is none.
    """

    def __init__(
        self,
        prompt_tokens: int,
        draft_ids: Sequence[int] = (),
        chooser: Chooser | None = None,
        rest: Rest | None = None,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.draft_ids = draft_ids
        self.chooser = chooser
        self.rest = rest
        #: Of each new token, where the chooser gives them.
        self.top: list[TopRow] = []
        #: Tokens of the prompt that were in the cache when it joined; None before it does.
        self.cached: int | None = None
        self._own: dict[int, Choice] = {}
        self._logprobs: dict[int, float] = {}

    def note(self, place: int, logits: Tensor) -> None:
        """Keep what the model says from a place of the draft on, by `(N, V)` logits."""
        scores = logits.log_softmax(dim=-1)
        self._own.update(enumerate(self.choices(logits, scores), place))
        drafted = self.draft_ids[place : place + len(logits)]
        found = scores[range(len(drafted)), list(drafted)].tolist()
        self._logprobs.update(enumerate(found, place))

    def choices(self, logits: Tensor, scores: Tensor) -> list[Choice]:
        """What the model chooses, by `(N, V)` logits and their log-softmax."""
        if self.chooser is not None:
            return [self.chooser(row) for row in logits]
        best = scores.topk(2).values.tolist()
        ids = logits.argmax(dim=-1).tolist()
        return [
            Choice(token, first, first - second)
            for token, (first, second) in zip(ids, best, strict=True)
        ]

    def reading(self) -> Reading:
        """Of the whole draft, once its sequence has ended."""
        count = len(self.draft_ids)
        return Reading(
            [self._own[place] for place in range(count + 1)],
            [self._logprobs[place] for place in range(count)],
        )


class Ahead(NamedTuple):
    """What a step reads of a draft's rest, behind a sequence's last token."""

    followed: Followed
    rest: Rest
    #: `(K,)`, none where there is no room.
    ids: Sequence[int]


class _Wanted(NamedTuple):
    """Rows of a step, and who takes their logits: he may know better what the sequence says."""

    #: In the step's tokens.
    rows: range
    take: Callable[[Tensor], Choice | None]
    #: Of the sequence, in what the step says.
    said_at: int


class Runner(ModelRunner):
    """Keeps the logits at the places of drafts, and lets sequences choose by their own."""

    #: By a sequence's name.
    followed: dict[str, Followed]
    #: See `install`; None where attention is the library's own.
    steps: Steps | None = None
    #: Of the step at hand, what is read of drafts' rests, by a sequence's name.
    ahead: dict[str, Ahead]
    _wanted: Sequence[_Wanted] = ()

    @classmethod
    def in_place_of(
        cls, runner: ModelRunner, followed: dict[str, Followed], ahead: dict[str, Ahead]
    ) -> Runner:
        """One that does what another does, and more."""
        made = cls(
            logit_processor=runner.logit_processor,
            cb_config=runner.cb_config,
            inputs_and_outputs=runner.inputs_and_outputs,
            cache=runner.cache,
            do_sample=runner.do_sample,
            return_logprobs=runner.return_logprobs,
        )
        made.followed, made.ahead = followed, ahead
        return made

    @property
    def takes_choosers(self) -> bool:
        """Whether sequences may have one; a graph of a GPU is captured once, the argmax in it."""
        return isinstance(self.inputs_and_outputs, ContinuousBatchingIOs) and not self.pad_inputs

    @property
    def takes_rests(self) -> bool:
        """Whether sequences may have one; what a window has let go cannot be taken back."""
        allocators = self.cache.cache_allocators
        return self.takes_choosers and set(allocators) == {FULL_ATTENTION}

    def compute_batch(self, model: nn.Module, batch_data: dict[str, Any]) -> None:
        """See `ModelRunner`."""
        if self.steps is not None:
            self.steps.clear()
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

    def _steps(self) -> Sequence[FutureRequestState]:
        io = self.inputs_and_outputs
        if isinstance(io, ContinuousBatchingAsyncIOs):
            io = io.io_pairs[io.current_pair].host_io
        return io.requests_in_batch

    def _wanted_now(self) -> Iterator[_Wanted]:
        begin = said_at = 0
        for one in self._steps():
            end = begin + one.query_length
            name = one.state.request_id
            followed, ahead = self.followed.get(name), self.ahead.get(name)
            if ahead is not None and ahead.ids:
                rows = range(end - len(ahead.ids) - 1, end)
                yield _Wanted(rows, partial(self._go_on, one, ahead), said_at)
            elif followed is not None and followed.draft_ids:
                # The token before the draft is the first that says something of it.
                place = one.state.position_offset - one.query_length - followed.prompt_tokens + 1
                skipped = max(0, -place)
                if skipped < one.query_length and place <= len(followed.draft_ids):
                    take = partial(followed.note, place + skipped)
                    yield _Wanted(range(begin + skipped, end), take, said_at)
            begin = end
            said_at += one.has_new_token

    def _sample(self, scores: Tensor, output_ids: Tensor) -> None:
        more = sum(len(one.rows) for one in self._wanted)
        own = scores.shape[1] - more
        super()._sample(scores[:, :own], output_ids)
        if self.takes_choosers:
            self._choose(scores[0, :own], output_ids)
        at = own
        for one in self._wanted:
            choice = one.take(scores[0, at : at + len(one.rows)])
            if choice is not None:
                _say(choice, output_ids[:, one.said_at])
            at += len(one.rows)

    def _choose(self, scores: Tensor, output_ids: Tensor) -> None:
        names = (step.state.request_id for step in self._steps() if step.has_new_token)
        for row, name in enumerate(names):
            followed, ahead = self.followed.get(name), self.ahead.get(name)
            if ahead is not None and not ahead.ids:
                ahead.rest.take(int(output_ids[0, row]))
            # None has left. What comes after a draft, or after what was read ahead, is taken there.
            if followed is None or followed.chooser is None or followed.draft_ids:
                continue
            if ahead is not None and ahead.ids:
                continue
            choice = followed.chooser(scores[row])
            if followed.chooser.draws:
                _say(choice, output_ids[:, row])
            if choice.top is not None:
                followed.top.append(choice.top)

    def _go_on(self, step: FutureRequestState, ahead: Ahead, logits: Tensor) -> Choice:
        """Take what the model says too of what was read ahead, and its own choice behind that."""
        state, count = step.state, 0
        choices = ahead.followed.choices(logits, logits.log_softmax(dim=-1))
        for count, choice in enumerate(choices):
            ahead.rest.take(choice.token)
            if choice.top is not None:
                ahead.followed.top.append(choice.top)
            agrees = count < len(ahead.ids) and choice.token == ahead.ids[count]
            if not agrees or choice.token in state._eos_token_ids:
                break
            state.generated_tokens.append(choice.token)
            state.logprobs.append(choice.logprob)
        state.position_offset -= len(ahead.ids) - count
        # Counted before it was known what stands.
        step.complete_blocks = {}
        keep_pages(self.cache, state)
        return choice


def keep_pages(cache: PagedAttentionCache, state: RequestState) -> None:
    """Let others find the pages that a sequence has filled."""
    if cache.use_prefix_sharing:
        known = [*state.initial_tokens, *state.generated_tokens][: state.position_offset]
        for allocator in cache.cache_allocators.values():
            allocator.mark_complete_blocks(state.request_id, known, len(known))


def _say(choice: Choice, output: Tensor) -> None:
    """Have a sequence say a token, `(2,)`: the library keeps ids and float32 as int32."""
    output[0] = choice.token
    output[1] = torch.tensor(choice.logprob, dtype=torch.float32).view(torch.int32)
