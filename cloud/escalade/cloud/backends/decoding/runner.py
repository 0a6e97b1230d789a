"""Runs the steps of a batch, for drafts and choosers too; knows no text, no queue.

To the library a draft is the end of a prompt, whose logits it drops: here they are kept. And it
draws for all sequences or for none, from one generator: a sequence that draws alike whatever stands
beside it has a chooser of its own, which is given its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.generation.continuous_batching.input_outputs import (
    ContinuousBatchingAsyncIOs,
    ContinuousBatchingIOs,
)
from transformers.generation.continuous_batching.model_runner import ModelRunner
from transformers.generation.continuous_batching.requests import FutureRequestState

from escalade.cloud.backends.decoding.attention import Steps
from escalade.cloud.backends.decoding.choosing import Chooser
from escalade.cloud.backends.drafts import Choice, Reading
from escalade.cloud.backends.query import TopRow


class Followed:
    """A sequence of the batch: what the thread notes of it.

    Args:
        prompt_tokens: before the draft.
        draft_ids: `(D,)`; empty where there is none.
        chooser: how it chooses; None takes the likeliest tokens, and so does one with a draft.
    """

    def __init__(
        self, prompt_tokens: int, draft_ids: Sequence[int] = (), chooser: Chooser | None = None
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.draft_ids = draft_ids
        self.chooser = chooser
        #: Of each new token, where the chooser gives them.
        self.top: list[TopRow] = []
        #: Tokens of the prompt that were in the cache when it joined; None before it does.
        self.cached: int | None = None
        self._own: dict[int, Choice] = {}
        self._logprobs: dict[int, float] = {}

    def note(self, place: int, logits: Tensor) -> None:
        """Keep what the model says from a place of the draft on, by `(N, V)` logits."""
        scores = logits.log_softmax(dim=-1)
        self._own.update(enumerate(self._choices(logits, scores), place))
        drafted = self.draft_ids[place : place + len(logits)]
        found = scores[range(len(drafted)), list(drafted)].tolist()
        self._logprobs.update(enumerate(found, place))

    def _choices(self, logits: Tensor, scores: Tensor) -> list[Choice]:
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


class _Wanted(NamedTuple):
    """Rows of a step that a draft's reading wants."""

    followed: Followed
    #: In the draft, of the first row.
    place: int
    #: In the step's tokens.
    rows: range


class Runner(ModelRunner):
    """Keeps the logits at the places of drafts, and lets sequences choose by their own."""

    #: By a sequence's name.
    followed: dict[str, Followed]
    #: See `install`; None where attention is the library's own.
    steps: Steps | None = None
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

    @property
    def takes_choosers(self) -> bool:
        """Whether sequences may have one; a graph of a GPU is captured once, the argmax in it."""
        return isinstance(self.inputs_and_outputs, ContinuousBatchingIOs) and not self.pad_inputs

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
        begin = 0
        for one in self._steps():
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
        if self.takes_choosers:
            self._choose(scores[0, :own], output_ids)
        at = own
        for one in self._wanted:
            one.followed.note(one.place, scores[0, at : at + len(one.rows)])
            at += len(one.rows)

    def _choose(self, scores: Tensor, output_ids: Tensor) -> None:
        names = (step.state.request_id for step in self._steps() if step.has_new_token)
        for row, name in enumerate(names):
            followed = self.followed.get(name)
            # None has left. What comes after a draft is in its reading.
            if followed is None or followed.chooser is None or followed.draft_ids:
                continue
            choice = followed.chooser(scores[row])
            if followed.chooser.draws:
                output_ids[0, row] = choice.token
                # The library keeps them in one tensor of int32.
                logprob = torch.tensor(choice.logprob, dtype=torch.float32)
                output_ids[1, row] = logprob.view(torch.int32)
            if choice.top is not None:
                followed.top.append(choice.top)
