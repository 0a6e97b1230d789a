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
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import (
    GenerationOutput,
    RequestState,
    RequestStatus,
)
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler

from escalade.cloud.backends.decoding.choosing import Chooser
from escalade.cloud.backends.decoding.memory import PAGE_TOKENS, KvMemory
from escalade.cloud.backends.decoding.runner import Choosing, runner_of
from escalade.cloud.backends.query import TopRow

# Tokens that are computed in a step. A prompt that is longer is read in pieces, and the others'
# next tokens wait no longer than a step: 0.3 s with SmolLM2-135M on two x86 cores.
_STEP_TOKENS = 256


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


class Load(NamedTuple):
    """How full a batch is."""

    sequences: int
    #: Of the KV cache: all, those that sequences hold, and those kept for ones that begin alike.
    pages: int
    pages_used: int
    pages_kept: int


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
        self._router = _Router(asyncio.get_running_loop())
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
            self._processor = self._manager._create_batch_processor()
            self._runner = runner_of(self._processor)
        except Exception:
            network.set_attn_implementation(attention)
            raise
        self._manager.batch_processor = self._processor

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
        cache = self._processor.cache
        each = [(one.index, one.blocks_per_sector) for one in cache.cache_allocators.values()]
        # The kinds of attention share the sectors; a page is counted as the first kind cuts it.
        per_sector = each[0][1]
        free = cache.pool.num_free_sectors * per_sector + sum(
            cache.pool.count_free_blocks(index) * per_sector // blocks for index, blocks in each
        )
        kept = sum(
            len(one.ledger.cached_blocks) * per_sector // one.blocks_per_sector
            for one in cache.cache_allocators.values()
        )
        pages = cache.num_sectors * per_sector
        return Load(
            sequences=len(self._processor.scheduler.active_requests),
            pages=pages,
            pages_used=max(0, pages - free - kept),
            pages_kept=kept,
        )

    @property
    def takes_choosers(self) -> bool:
        """Whether `submit` does; a graph of a GPU is captured once, with the argmax in it."""
        return self._runner is not None

    def submit(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        deliver: Deliver,
        *,
        streamed: bool,
        chooser: Chooser | None = None,
    ) -> str:
        """Have a sequence join the batch, when there is room for it.

        Args:
            prompt_ids: `(P,)`, at least one.
            max_new_tokens: at least 1; P and it fit into the KV cache.
            deliver: called in the running event loop: with each new token, or only at the end.
            streamed: whether each token is delivered as it comes.
            chooser: of this sequence; None takes the likeliest token.

        Returns:
            Its name, for `cancel`.
        """
        name = str(next(self._numbers))
        top: list[TopRow] = []
        if chooser is not None:
            assert self._runner is not None  # noqa: S101 - see takes_choosers
            self._runner.choosing[name] = Choosing(chooser, top)
        self._router.takers[name] = partial(_take, deliver, _Taken(), top)
        accepted = self._manager.add_request(
            list(prompt_ids),
            request_id=name,
            max_new_tokens=max_new_tokens,
            streaming=streamed,
            eos_token_id=self._end_ids,
        )
        if accepted is None:
            del self._router.takers[name]
            self._forget(name)
            deliver(Progress((), (), True, error="the batch takes no more sequences"))
        return name

    def cancel(self, name: str) -> None:
        """Have a sequence leave the batch; nothing is delivered any more."""
        self._forget(name)
        if self._router.takers.pop(name, None) is not None:
            self._manager.cancel_request(name)

    def _forget(self, name: str) -> None:
        if self._runner is not None:
            self._runner.choosing.pop(name, None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold the batch between two steps: the model is the caller's; from another thread."""
        with self._manager.pause():
            yield


class _Scheduler(FIFOScheduler):
    """First come, first served, also when those who came first have left.

    The library's own takes no new sequence after one has lost its pages until another has
    finished: where all others are cancelled, none ever does.
    """

    def clear_cancelled_requests(self) -> list[RequestState]:
        cleared: list[RequestState] = super().clear_cancelled_requests()
        if cleared:
            self.block_new_requests = False
        return cleared


_SCHEDULER = "first come, first served"
SCHEDULER_MAPPING[_SCHEDULER] = _Scheduler


class _Taken:
    """How many tokens of a sequence have been delivered."""

    count = 0


def _take(deliver: Deliver, taken: _Taken, top: Sequence[TopRow], output: GenerationOutput) -> None:
    ids, logprobs = output.generated_tokens[taken.count :], output.logprobs[taken.count :]
    end = taken.count + len(ids)
    rows, taken.count = top[taken.count : end], end
    started_s, _ = output.lifespan
    deliver(
        Progress(
            ids,
            logprobs,
            output.is_finished(),
            max(0.0, started_s - output.created_time),
            output.error if output.status == RequestStatus.FAILED else None,
            rows,
        )
    )


class _Router(OutputRouter):
    """Hands outputs to whoever waits for them, in the event loop, and drops all others.

    The library's own keeps what nobody waits for, which of cancelled sequences is for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        #: By a sequence's name; looked at in the loop alone.
        self.takers: dict[str, Callable[[GenerationOutput], None]] = {}

    def deliver(self, output: GenerationOutput) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
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
