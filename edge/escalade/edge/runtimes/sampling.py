"""Draws tokens from logits, and says what the model thought of them; knows no runtime, no text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# A nucleus of a trained model has tens of tokens; it is looked for among this many first, then
# among sixteen times as many, so that a vocabulary is sorted whole only where a nucleus is large.
_FIRST_CANDIDATES = 256
_CANDIDATES_GROWTH = 16
# numpy's generators and every server take as many.
_SEED_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw tokens; a greedy answer needs none of this.

    The log-probability of a drawn token is the model's own: neither temperature nor the
    cuts of top-k and top-p change it.

    Raises:
        ValueError: a value is out of range.
    """

    #: > 0; logits are divided by it before the cuts.
    temperature: float = 1.0
    #: Keep the k likeliest tokens; 0 keeps all.
    top_k: int = 0
    #: Keep the fewest tokens whose probabilities sum to at least this; in (0, 1].
    top_p: float = 1.0
    #: Same seed, same prompt, same program: same tokens.
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number above 0, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all) or more, got {self.top_k}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")


class Draw(NamedTuple):
    """One of several responses of a model to a query, all drawn (self-consistency).

    Wang et al. 2022 (arXiv 2203.11171): several answers of one model vote.

    Its seed follows from the tier's, the query's tokens and its place: the same query is answered
    the same however often it is asked, and other queries by other numbers.
    """

    sampling: Sampling
    place: int

    def of(self, asked: Sampling | None, ids: Sequence[int]) -> Sampling:
        """How the response to a prompt is drawn.

        Args:
            asked: how the caller wants tokens drawn; None takes the tier's own.
            ids: the prompt's.
        """
        sampling = self.sampling if asked is None else asked
        told = f"{sampling.seed} {self.place} {list(ids)}"
        digest = hashlib.sha256(told.encode()).digest()[:_SEED_BYTES]
        return replace(sampling, seed=int.from_bytes(digest, "big"))


class Sampler:
    """One response's worth of draws: `Sampling` with the state of its generator.

    The order is that of the warpers of transformers' `generate`: temperature, then top-k,
    then top-p over what top-k has left. Top-k keeps every token whose logit is at least the
    k-th, so that tokens tied for the last place are all kept. Top-p (nucleus sampling,
    arXiv 1904.09751) keeps the fewest tokens whose probabilities sum to at least `top_p`;
    of tokens tied at its edge, those with the lower ids.

    The generator is numpy's PCG64, and each token takes one number of it.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._rng = np.random.Generator(np.random.PCG64(sampling.seed))

    def draw(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        """Draw the next token.

        Args:
            logits: `(V,)` as they left the head.

        Returns:
            The token and its log-probability under the model: at temperature 1 and over the
            whole vocabulary, `logit - logsumexp(logits)` in float64. Where the logits hold
            NaN or `inf`, or nothing but `-inf`, some token and NaN.

        Raises:
            ValueError: the logits have another shape.
        """
        if logits.ndim != 1 or logits.size == 0:
            raise ValueError(f"logits must have shape (V,) with V >= 1, got {logits.shape}")
        u = self._rng.random()
        peak = float(logits.max())
        if not math.isfinite(peak):
            return int(logits.argmax()), math.nan
        shifted = logits.astype(np.float64) - peak
        mass = np.exp(shifted)
        log_normalizer = math.log(mass.sum())
        kept: NDArray[np.intp] | slice = slice(None)
        if 0 < self._sampling.top_k < logits.size:
            kept = at_least_the_kth(logits, self._sampling.top_k)
        mass = mass[kept]
        if self._sampling.temperature != 1.0:
            with np.errstate(over="ignore"):  # so cold that only the peak is left
                mass = np.exp(shifted[kept] / self._sampling.temperature)
        if self._sampling.top_p < 1.0:
            inside = _nucleus(logits[kept], mass, self._sampling.top_p)
            kept = inside if isinstance(kept, slice) else kept[inside]
            mass = mass[inside]
        reached = np.cumsum(mass)
        # Rounded up to the whole sum, u must not reach a last token of probability zero.
        last = np.searchsorted(reached, reached[-1], side="left")
        index = int(min(np.searchsorted(reached, u * reached[-1], side="right"), last))
        token_id = index if isinstance(kept, slice) else int(kept[index])
        return token_id, float(shifted[token_id]) - log_normalizer


def at_least_the_kth(values: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The indices of the k largest values and of all that tie with the k-th, in rising order."""
    kth = np.partition(values, values.size - k)[values.size - k]
    return np.flatnonzero(values >= kth)


def _nucleus(
    logits: NDArray[np.float32], mass: NDArray[np.float64], top_p: float
) -> NDArray[np.intp]:
    """The indices of the fewest tokens that hold at least `top_p` of the mass, in rising order."""
    needed = top_p * mass.sum()
    count = _FIRST_CANDIDATES
    while True:
        whole = count >= logits.size
        candidates = np.arange(logits.size) if whole else at_least_the_kth(logits, count)
        falling = candidates[np.argsort(-logits[candidates], kind="stable")]
        reached = np.cumsum(mass[falling])
        if whole or reached[-1] >= needed:
            break
        count *= _CANDIDATES_GROWTH
    edge = int(np.searchsorted(reached, needed, side="left"))
    return np.sort(falling[: edge + 1])
