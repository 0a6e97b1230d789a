"""Transformers' continuous batching behind submit and cancel; knows no text, no gRPC.

Sequences join and leave at every step, long prompts are read a piece at a time beside the
others' next tokens, and a sequence for which there is no memory waits, or is read again later.
A token is the argmax of the batch's own forward pass: sums of floating point in another order
differ in the last bits, so that a near tie may fall the other way than alone. A sequence may have a
chooser of its own instead, which is given its row of each pass.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.requests import GenerationOutput, RequestStatus
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING

from escalade.cloud.backends.decoding.attention import install
from escalade.cloud.backends.decoding.choosing import Chooser
from escalade.cloud.backends.decoding.memory import (
    PAGE_TOKENS,
    KvMemory,
    Load,
    Untouched,
    load_of,
)
from escalade.cloud.backends.decoding.queueing import Router, Scheduler
from escalade.cloud.backends.decoding.runner import Ahead, Followed, Runner
from escalade.cloud.backends.drafts import Reading, Rest
from escalade.cloud.backends.query import TopRow

# Tokens that are computed in a step. A prompt that is longer is read in pieces, and the others'
# next tokens wait no longer than a step: 0.3 s with SmolLM2-135M on two x86 cores.
_STEP_TOKENS = 256

_SCHEDULER = "first come, first served"
SCHEDULER_MAPPING[_SCHEDULER] = Scheduler


class Progress(NamedTuple):
    """What has been generated since the last time."""

    token_ids: Sequence[int]
    #: Natural logarithms, one for each id.
    logprobs: Sequence[float]
    #: Nothing comes after it.
    finished: bool
    #: Seconds that it waited for its first step.
    queue_s: float = 0.0
    #: Why it failed, where it did.
    error: str | None = None
    #: One for each id, where they were asked for.
    top: Sequence[TopRow] = ()
    #: Tokens of the prompt whose keys and values were in the cache already.
    cached: int = 0
    #: Of the draft, where there was one and nothing comes any more.
    reading: Reading | None = None


Deliver = Callable[[Progress], None]


class Batcher:
    """Sequences of one model, many at once, in a thread of its own; made in the event loop.

    Args:
        network: a causal language model in eval mode; nobody else runs it, but inside `paused`.
        memory: of the KV cache.
        sequences: that are computed at one time, at most.
        end_ids: tokens that end a sequence.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        *,
        memory: KvMemory,
        sequences: int,
        end_ids: Sequence[int],
    ) -> None:
        self._end_ids = list(end_ids) or [-1]  # the library's word for none
        self._router = Router(asyncio.get_running_loop())
        self._numbers = itertools.count()
        attention = network.config._attn_implementation
        try:
            self._manager = ContinuousBatchingManager(
                network,  # type: ignore[arg-type] # its protocol wants a private method by keyword
                GenerationConfig(do_sample=False),
                ContinuousBatchingConfig(
                    num_blocks=memory.pages,
                    page_size=PAGE_TOKENS,
                    max_batch_tokens=_STEP_TOKENS,
                    max_requests_per_batch=sequences,
                    return_logprobs=True,
                    scheduler_type=_SCHEDULER,
                    auto_switch_to_flash=False,  # which takes no float32
                    use_cuda_graph=None if network.device.type == "cuda" else False,
                ),
            )
            self._manager.output_router = self._router
            with Untouched():
                self._processor = self._manager._create_batch_processor()
        except Exception:
            network.set_attn_implementation(attention)
            raise
        self._manager.batch_processor = self._processor
        self._followed: dict[str, Followed] = {}
        scheduler = self._processor.scheduler
        assert isinstance(scheduler, Scheduler)  # noqa: S101 - as was asked for
        ahead: dict[str, Ahead] = {}
        scheduler.followed, scheduler.ahead = self._followed, ahead
        self._runner = Runner.in_place_of(self._processor.model_runner, self._followed, ahead)
        self._processor.model_runner = self._runner
        if network.device.type == "cpu":
            self._runner.steps = install(self._processor.cache)

    def longest(self, most: int) -> int:
        """Tokens of the longest sequence that the cache holds alone, at most so many.

        Each kind of attention has pages of its own, which are given out several at a time.
        """
        cache = self._processor.cache
        steps = [
            one.tokens_per_page * one.blocks_per_sector for one in cache.cache_allocators.values()
        ]
        longest = min(most, cache.num_sectors * max(steps))
        while longest > 0 and sum(-(-longest // step) for step in steps) > cache.num_sectors:
            longest -= 1
        return longest

    def start(self) -> None:
        """Start the thread."""
        self._manager.start()

    def close(self) -> None:
        """Drop what is still running; waits for the step, and for whoever has paused it."""
        self._manager.stop(block=True, hard_stop=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs and has not failed; False before its queries hear of it."""
        status = self._manager.background_thread_status
        return self._manager.is_running() and status.can_accept_new_requests() is None

    def load(self) -> Load:
        """How full it is just now; from any thread, between two steps or in the midst of one."""
        return load_of(self._processor)

    @property
    def takes_choosers(self) -> bool:
        """Whether `submit` does."""
        return self._runner.takes_choosers

    def submit(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        deliver: Deliver,
        *,
        streamed: bool,
        draft_ids: Sequence[int] = (),
        chooser: Chooser | None = None,
        rest: Rest | None = None,
    ) -> str:
        """Have a sequence join the batch, when there is room for it.

        Args:
            prompt_ids: `(P,)`, at least one.
            max_new_tokens: at least 1; P, D and it fit into the KV cache.
            deliver: called in the running event loop: with each new token, or only at the end.
            streamed: whether each token is delivered as it comes.
            draft_ids: `(D,)` read behind the prompt; the new tokens come after it.
            chooser: of this sequence; None takes the likeliest token. With a draft it must too.
            rest: of a draft: some of it is read with each of the new tokens, where that may be.

        Returns:
            Its name, for `cancel`.
        """
        name = str(next(self._numbers))
        if chooser is not None:
            assert self.takes_choosers  # noqa: S101 - see there
        if not self._runner.takes_rests:
            rest = None
        followed = self._followed[name] = Followed(len(prompt_ids), draft_ids, chooser, rest)
        self._router.takers[name] = partial(self._take, name, deliver, _Taken(), followed)
        accepted = self._manager.add_request(
            [*prompt_ids, *draft_ids],
            request_id=name,
            max_new_tokens=max_new_tokens,
            streaming=streamed,
            eos_token_id=self._end_ids,
        )
        if accepted is None:
            del self._router.takers[name], self._followed[name]
            deliver(Progress((), (), True, error="the batch takes no more sequences"))
        return name

    def cancel(self, name: str) -> None:
        """Have a sequence leave the batch; nothing is delivered any more."""
        self._followed.pop(name, None)
        if self._router.takers.pop(name, None) is not None:
            self._manager.cancel_request(name)

    def _take(
        self,
        name: str,
        deliver: Deliver,
        taken: _Taken,
        followed: Followed,
        output: GenerationOutput,
    ) -> None:
        end = len(output.generated_tokens)
        begin, taken.count = taken.count, end
        started_s, _ = output.lifespan
        finished, failed = output.is_finished(), output.status == RequestStatus.FAILED
        if finished:
            self._followed.pop(name, None)
        read = finished and not failed and followed.draft_ids
        deliver(
            Progress(
                output.generated_tokens[begin:end],
                output.logprobs[begin:end],
                finished,
                max(0.0, started_s - output.created_time),
                output.error if failed else None,
                followed.top[begin:end],
                followed.cached or 0,
                followed.reading() if read else None,
            )
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the batch between two steps: the model is the caller's; from another thread."""
        with self._manager.pause():
            yield


class _Taken:
    """How many tokens of a sequence have been delivered."""

    count = 0
