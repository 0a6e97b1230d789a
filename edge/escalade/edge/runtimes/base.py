"""What a runtime is: prompt ids in, tokens with log-probabilities out; knows no text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.runtimes.sampling import Sampler, Sampling, at_least_the_kth


class Step(msgspec.Struct, frozen=True):
    """One generated token."""

    token_id: int
    #: Natural logarithm, under the small model at temperature 1, out of the same forward pass.
    logprob: float
    #: Whether this token is an end-of-sequence token, or a classifier's label: nothing follows.
    ended: bool
    #: Of a classifier, the log-probabilities of all its classes `(K,)`.
    classes: Sequence[float] = ()
    #: The likeliest tokens here with their log-probabilities, best first, where they were asked
    #: for; the token itself need not be among them.
    top: Sequence[tuple[int, float]] = ()


def class_step(logprobs: NDArray[np.floating]) -> Step:
    """The answer of a classifier: its likeliest class, of two alike the first.

    Args:
        logprobs: `(K,)`.
    """
    best = int(np.argmax(logprobs))
    return Step(best, float(logprobs[best]), True, logprobs.tolist())


# Where a prompt's beginning was read by other-shaped kernels, its last bits differ. A short
# one is read anew, so that the same question has the same score whatever was asked before.
_LEAST_REUSE = 16


def reusable(held: Sequence[int], prompt_ids: Sequence[int]) -> int:
    """How many tokens whose keys and values are held serve a prompt; its last is always run.

    Args:
        held: tokens that a cache holds, in order.
        prompt_ids: at least 1.
    """
    if len(prompt_ids) <= _LEAST_REUSE or [*held[:_LEAST_REUSE]] != [*prompt_ids[:_LEAST_REUSE]]:
        return 0
    pairs = zip(held, prompt_ids[:-1], strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def steps_of(
    read: Callable[[int | None], bool],
    likeliest: Callable[[], tuple[int, float]],
    logits: Callable[[], NDArray[np.float32]],
    *,
    end_ids: Container[int],
    max_new_tokens: int,
    sampling: Sampling | None,
    top: int = 0,
) -> Iterator[Step]:
    """What every runtime yields, whatever runs the program.

    Args:
        read: puts the last token through the model, or the prompt where it is None; False when
            it was cancelled before its end.
        likeliest: the next token and its log-probability, after `read`.
        logits: `(V,)` of the next token, after `read`.
        end_ids: the end-of-sequence tokens.
        max_new_tokens: at least 1.
        sampling: None is greedy, and asks for no logits.
        top: how many of the likeliest tokens each step has; above 0 it asks for logits too.
    """
    draw = None if sampling is None else Sampler(sampling).draw
    last = None
    for _ in range(max_new_tokens):
        if not read(last):
            return
        last, logprob = likeliest() if draw is None else draw(logits())
        ended = last in end_ids
        yield Step(last, logprob, ended, (), likeliest_of(logits(), top) if top else ())
        if ended:
            return


def likeliest_of(logits: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """The likeliest tokens and their log-probabilities at temperature 1, best first.

    Args:
        logits: `(V,)` as they left the head.
        count: at least 1; at most V are there. Of tokens tied, those with the lower ids.
    """
    with np.errstate(invalid="ignore"):  # a broken model's are no numbers, and are given as such
        shifted = logits.astype(np.float64) - float(logits.max())
    candidates = at_least_the_kth(logits, count) if count < logits.size else np.arange(logits.size)
    best = candidates[np.argsort(-shifted[candidates], kind="stable")][:count]
    normalizer = math.log(np.exp(shifted).sum())
    return [(int(token), float(shifted[token]) - normalizer) for token in best]


class Runtime(Protocol):
    """A program that generates."""

    @property
    def reads_drafts(self) -> bool:
        """Whether a draft can make it answer sooner."""
        ...

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        cancelled: Callable[[], bool] | None = None,
        draft: Sequence[int] = (),
    ) -> Iterator[Step]:
        """Yield a step for each token until the end of sequence or `max_new_tokens`.

        The end-of-sequence token is yielded too, with `ended` set. The caller has checked
        that prompt and response fit into the model's window and every id into its vocabulary,
        and ends one generation before it begins another.

        Args:
            prompt_ids: at least 1.
            max_new_tokens: at least 1.
            sampling: None is greedy.
            top: how many of the likeliest tokens each step says; 0 takes no time for them.
            cancelled: asked before each chunk of the prompt and before each token; once it
                says so, nothing more is yielded.
            draft: how the answer may begin, ids of the vocabulary. What is yielded is the same,
                but for the last bits of what other-shaped kernels compute; sooner where a runtime
                reads it in one piece, greedily, and it is right.
        """
        ...

    def forget(self) -> None:
        """Hold no more of a prompt than before the last answer: the same takes as long again."""
        ...

    def settle(self) -> None:
        """Give back memory that only opening it took; called when it has given a golden answer."""
        ...


class ReadsNoDraft:
    """Of runtimes that answer in the same time whatever the draft: there is nothing to compare.

    Nor do they hold anything that only opening took.
    """

    reads_drafts = False

    def forget(self) -> None:
        """See `Runtime`; asked of those that read drafts."""

    def settle(self) -> None:
        """See `Runtime`."""
