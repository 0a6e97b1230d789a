"""What a runtime is: prompt ids in, tokens with log-probabilities out; knows no text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from escalade.edge.runtimes.sampling import Sampling


class Step(NamedTuple):
    """One generated token."""

    token_id: int
    #: Natural logarithm, under the small model at temperature 1, out of the same forward pass.
    logprob: float
    #: Whether this token is an end-of-sequence token.
    ended: bool


# Where a prompt's beginning was read by other-shaped kernels, its last bits differ. A short
# one is read anew, so that the same question has the same score whatever was asked before.
_LEAST_REUSE = 16


def reusable(held: Sequence[int], prompt_ids: Sequence[int]) -> int:
    """How many tokens whose keys and values are held serve a prompt; its last is always run.

    Args:
        held: tokens that a cache holds, in order.
        prompt_ids: at least 1.
    """
    pairs = zip(held, prompt_ids[:-1], strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return same if same >= _LEAST_REUSE else 0


class Runtime(Protocol):
    """A program that generates."""

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Step]:
        """Yield a step for each token until the end of sequence or `max_new_tokens`.

        The end-of-sequence token is yielded too, with `ended` set. The caller has checked
        that prompt and response fit into the model's window and every id into its vocabulary,
        and ends one generation before it begins another.

        Args:
            prompt_ids: at least 1.
            max_new_tokens: at least 1.
            sampling: None is greedy.
            cancelled: asked before each chunk of the prompt and before each token; once it
                says so, nothing more is yielded.
        """
        ...
