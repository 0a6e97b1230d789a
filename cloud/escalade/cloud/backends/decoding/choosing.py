"""Chooses a token from logits and says what the model thinks of it; knows no model, no text."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from escalade.cloud.backends.drafts import Choice
from escalade.cloud.backends.query import Query, Sampling, TopRow

_BEST_TWO = 2


class Chooser:
    """The choices of one response: how its tokens are drawn, with the state of its generator.

    Each token takes one number of numpy's PCG64 and the logits of its own position, nothing of
    another response's: what stands beside it in a batch changes no draw, but by the last bits of
    the logits.

    Args:
        sampling: None takes the likeliest token.
        top_logprobs: entries of `Choice.top`; at most the vocabulary.
    """

    def __init__(self, sampling: Sampling | None, top_logprobs: int) -> None:
        #: Whether it may choose another token than the likeliest.
        self.draws = sampling is not None
        self._top_logprobs = top_logprobs
        if sampling is not None:
            self._warpers = _warpers(sampling)
            self._rng = np.random.Generator(np.random.PCG64(sampling.seed))

    @torch.inference_mode()
    def __call__(self, logits: Tensor) -> Choice:
        """Choose by `(V,)` logits, as they left the head."""
        logits = logits.float()
        logprobs = logits.log_softmax(dim=-1)
        # By logit, as scores are: log-probabilities round, and rounding makes ties.
        best = logits.topk(max(_BEST_TWO, self._top_logprobs)).indices
        first, second = logprobs[best[:_BEST_TWO]].tolist()
        token = self._draw(logits) if self.draws else int(logprobs.argmax())
        return Choice(
            token,
            float(logprobs[token]),
            first - second,
            self._row(best[: self._top_logprobs], logprobs),
        )

    def _draw(self, logits: Tensor) -> int:
        if logits.device.type == "mps":  # it has no float64
            logits = logits.cpu()
        scores = logits.to(torch.float64)[None]
        # However cold: the likeliest is divided to 0, never to infinity.
        scores = self._warpers(torch.LongTensor(), scores - scores.max())  # they read no ids
        reached = scores[0].softmax(dim=-1).cumsum(dim=-1)
        drawn = torch.searchsorted(reached, float(self._rng.random()) * reached[-1], right=True)
        # Rounded up to the whole sum, it must not reach a last token of probability zero.
        last = torch.searchsorted(reached, reached[-1])
        return min(int(drawn), int(last), len(logits) - 1)  # the third where there is NaN

    def _row(self, ids: Tensor, logprobs: Tensor) -> TopRow | None:
        if not self._top_logprobs:
            return None
        return TopRow(
            ids.cpu().numpy().astype("<i4").tobytes(),
            logprobs[ids].cpu().numpy().astype("<f4").tobytes(),
        )


def chooser_of(query: Query) -> Chooser | None:
    """How a query wants its tokens chosen; None where the likeliest alone will do."""
    if query.sampling is None and not query.top_logprobs:
        return None
    return Chooser(query.sampling, query.top_logprobs)


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    """Those of `generate(do_sample=True)`, in its order."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers
