"""A learned deferral rule: a small network on the token probabilities; knows no torch, no model.

EdgeInference (Kag et al. 2023, "Efficient edge inference by selective query", ICLR) as
appendix B of the CAT paper (arXiv 2406.00060) adapts it to sequences. `escalade.training`
makes a router, this module runs it; `router_file.py` keeps it, docs/deferral.md proves its bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escalade.edge.deferral.router_file import read_layers, write_layers
from escalade.edge.deferral.rule import UNIT_ROUNDOFF, DeferralRule, RunningBound, token_logprobs
from escalade.edge.errors import ArtifactError

#: The name of the rule, in manifests and on the command line.
ROUTER = "router"

# Two implementations of exp may differ by a unit in the last place or two, which are 2 units of
# roundoff each; and an absolute part, for probabilities too small to have a relative error.
_EXP_UNITS = 8
_TINY = 1e-300

#: A linear layer: weight `(outputs, inputs)`, as torch has it, and bias `(outputs,)`.
Layer = tuple[ArrayLike, ArrayLike]

Floats = NDArray[np.float64]


class Router(DeferralRule):
    """A multilayer perceptron with ReLU between its layers; its logit is the deferral score.

    A deferral rule: call it with the log-probabilities of a response. The logit of one
    unit is the difference of the logits of two, so a score above 0 says that deferring
    is more likely to gain than not (see `escalade.training.router`).

    Bound: the lower end of the logit by interval arithmetic, a token not yet seen having its
    probability in [0, 1]; widened by four times what rounding may add. Without hidden layers
    it is the greatest bound; with them it may lie lower than any response's score.

    Example:
        >>> router = Router.open(Path("router.json"))
        >>> score = router([-0.1, -2.3, -0.01])
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Take the layers, from the inputs to the logit.

        Args:
            layers: at least 1; each takes what the one before gives, the last gives 1 number.

        Raises:
            ValueError: shapes do not fit, or a number is not finite.
        """
        self._layers = [
            (np.array(weight, dtype=np.float32), np.array(bias, dtype=np.float32))
            for weight, bias in layers
        ]
        if not self._layers:
            raise ValueError("a router needs at least 1 layer")
        for index, (weight, bias) in enumerate(self._layers):
            if weight.ndim != 2 or 0 in weight.shape or bias.shape != weight.shape[:1]:  # noqa: PLR2004
                raise ValueError(
                    f"layer {index}: weight must be (outputs, inputs), all >= 1, and bias"
                    f" (outputs,); got {weight.shape} and {bias.shape}"
                )
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise ValueError(f"layer {index}: a number is not finite")
        for index, ((before, _), (after, _)) in enumerate(itertools.pairwise(self._layers)):
            if before.shape[0] != after.shape[1]:
                raise ValueError(
                    f"layer {index} gives {before.shape[0]} numbers, layer {index + 1} takes"
                    f" {after.shape[1]}"
                )
        if (outputs := self._layers[-1][0].shape[0]) != 1:
            raise ValueError(f"the last layer must give 1 number, the logit; got {outputs}")

    name = ROUTER

    @property
    def lowest(self) -> float:
        """No response scores lower: the bound before the first token."""
        return self._least(np.zeros(self.length), np.ones(self.length))

    @property
    def widths(self) -> list[int]:
        """Inputs, hidden units of each layer, and 1 for the logit."""
        return [self.length, *(weight.shape[0] for weight, _ in self._layers)]

    @property
    def length(self) -> int:
        """How many tokens of a response it looks at: the first ones."""
        return int(self._layers[0][0].shape[1])

    @property
    def parameters(self) -> int:
        """Numbers in all."""
        return sum(weight.size + bias.size for weight, bias in self._layers)

    def __call__(self, logprobs: ArrayLike) -> float:
        """The deferral score of a response; NaN, which defers, where a value is NaN or `inf`.

        Args:
            logprobs: `(N,)` natural logarithms, N >= 1.

        Raises:
            ValueError: there is no token to score.
        """
        values = token_probabilities(logprobs, self.length)
        if np.isnan(values).any():
            return math.nan
        for weight, bias in self._layers[:-1]:
            values = np.maximum(weight @ values + bias, 0.0)
        weight, bias = self._layers[-1]
        return float((weight @ values + bias)[0])

    def _running(self, longest: int) -> RunningBound:
        low, high = np.zeros(self.length), np.zeros(self.length)
        high[:longest] = 1.0
        seen, bound = 0, -math.inf

        def step(logprob: float) -> float:
            nonlocal seen, bound
            if seen < self.length:
                probability = math.exp(min(logprob, 0.0))
                off = _EXP_UNITS * UNIT_ROUNDOFF * probability + _TINY
                low[seen], high[seen] = probability - off, probability + off
                seen += 1
                bound = self._least(low, high)
            return bound

        return step

    def _least(self, low: Floats, high: Floats) -> float:
        """The lower end of the logit, of features between `low` and `high`, both `(length,)`."""
        for depth, (weight, bias) in enumerate(self._layers):
            if depth:
                low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
            # As `W c -+ |W| r` of centre and radius: two products in place of four.
            size = np.abs(weight, dtype=np.float64)
            centre, radius = (low + high) / 2, (high - low) / 2
            middle = weight @ centre + bias
            most = size @ np.maximum(np.abs(low), np.abs(high)) + np.abs(bias)
            off = size @ radius + 4 * (low.size + 4) * UNIT_ROUNDOFF * most + _TINY
            low, high = middle - off, middle + off
        return float(low[0])

    def save(self, path: Path) -> None:
        """Write the router to a file, aside and renamed.

        Raises:
            DataError: the file cannot be written.
        """
        write_layers(path, self._layers)

    @classmethod
    def open(cls, path: Path) -> Router:
        """Read a router and check all of it.

        Raises:
            ArtifactError: the file cannot be read, is too large, of another schema, altered,
                or its numbers do not fit its widths. The message says which.
        """
        layers = read_layers(path)
        try:
            return cls(layers)
        except ValueError as error:
            raise ArtifactError(f"{path}: {error}") from error


def token_probabilities(logprobs: ArrayLike, length: int) -> NDArray[np.float64]:
    """The feature vector of equation 10: `p_S` of each token, zeros where there is none.

    The paper pads to 2048 tokens. What a response has beyond `length` is cut off. A token of
    probability 0 looks like one that is not there.

    Args:
        logprobs: `(N,)` natural logarithms, N >= 1.
        length: how many features, >= 1.

    Returns:
        `(length,)` in [0, 1]; NaN for each token where a log-probability is NaN or `inf`.

    Raises:
        ValueError: there is no token.
    """
    kept = token_logprobs(logprobs)[:length]
    features = np.zeros(length)
    features[: kept.size] = np.exp(np.minimum(kept, 0.0))  # rounding may give a log p above 0
    return features
