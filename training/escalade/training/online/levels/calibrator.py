"""Decides by a level's class probabilities whether to defer, and learns it; knows no text.

For each level a multi-layer perceptron f (Linear(K, 128), ReLU, Linear(128, 1), sigmoid), of which
equation 7 of the online-cascade-learning paper (arXiv 2402.04513) is learned, as its authors' code
has it: one Adam step for each label of the expert on

    sum_i (f_i - min(1[pred_i != label] + calibration_i, 1))^2 + 1e-4 |weights_i|^2 + J
    J = sum_i reach_i ((1 - f_i) CE_i + f_i mu cost_i), reach_i = f_1 ... f_(i-1)

where CE_i = -log p_i(label), and cost_i is the next level's: equation 3. The levels' own weights
get nothing of it. One step for each label hardly tells sure from unsure within a stream: some
earlier labels, with what the levels said then, are learned from again (the authors' code: none).
In numpy: a step takes a tenth of what torch takes for so few numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.training.online.levels.level import Floats, Tensors

# The authors' code.
_HIDDEN, _DECAY = 128, 1e-4
# Kingma & Ba 2014, as torch's default.
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
# Labels that are kept to be learned from again: the levels were not much worse then.
_MEMORY = 512
# exp of more is no number that changes a sigmoid.
_MOST_LOGIT = 500.0


class CalibratorSettings(NamedTuple):
    """Of one level."""

    #: What is added to the target, 0..1: the more, the more is deferred.
    calibration: float
    #: Of Adam.
    learning_rate: float
    #: Of the next level.
    next_cost: float


class Calibrators:
    """One for each level of a cascade, learned together."""

    def __init__(
        self,
        classes: int,
        settings: Sequence[CalibratorSettings],
        *,
        mu: float,
        replay: int,
        seed: int,
    ) -> None:
        """Begin with torch's own first weights for linear layers: uniform, by their inputs.

        Args:
            classes: K >= 2.
            settings: from the first level on.
            mu: what a unit of cost weighs against a nat of prediction loss, >= 0.
            replay: earlier labels learned from again with each, >= 0.
            seed: of the first weights, and of what is learned from again.
        """
        self._settings, self._classes = tuple(settings), classes
        self._mu, self._replay, self._seed = mu, replay, seed
        self._memory: list[tuple[Floats, int]] = []
        self._labels = 0
        generator = np.random.default_rng(seed)

        def uniform(inputs: int, *shape: int) -> Floats:
            bound = inputs**-0.5
            return generator.uniform(-bound, bound, shape)

        self._networks = [
            _Network(
                {
                    "w1": uniform(classes, _HIDDEN, classes),
                    "b1": uniform(classes, _HIDDEN),
                    "w2": uniform(_HIDDEN, _HIDDEN),
                    "b2": uniform(_HIDDEN, 1),
                }
            )
            for _ in self._settings
        ]

    def deferral(self, level: int, logprobs: Floats) -> float:
        """P(defer) of a level, which defers above 0.5.

        Args:
            level: from 0.
            logprobs: what it says of the text `(K,)`.
        """
        return self._networks[level].forward(np.exp(logprobs)).share

    def learn(self, said: Sequence[Floats], label: int, *, warm: bool) -> None:
        """One step of each from a label of the expert, and one from each that is taken again.

        Args:
            said: what each level says of the text `(K,)`, before it learns from it.
            label: the expert's, 0..K-1.
            warm: whether the warm-up is over; until then the calibration factor is 0.
        """
        generator = np.random.default_rng([self._seed, self._labels])
        again = generator.integers(len(self._memory), size=self._replay) if self._memory else ()
        self._step(said, label, warm=warm)
        for k in again:
            self._step(*self._memory[k], warm=warm)
        self._memory = [*self._memory[1 - _MEMORY :], (np.stack(said), label)]
        self._labels += 1

    def _step(self, said: Sequence[Floats] | Floats, label: int, *, warm: bool) -> None:
        passes = [
            network.forward(np.exp(logprobs))
            for network, logprobs in zip(self._networks, said, strict=True)
        ]
        shares = [one.share for one in passes]
        reach = np.cumprod([1.0, *shares[:-1]])
        onward = 0.0  # what a text costs from the next level on
        for k in reversed(range(len(passes))):
            settings, share = self._settings[k], shares[k]
            loss, fee = -float(said[k][label]), settings.next_cost * self._mu
            wrong = float(int(np.argmax(said[k])) != label)
            target = min(wrong + settings.calibration * warm, 1.0)
            gradient = 2.0 * (share - target) + float(reach[k]) * (fee + onward - loss)
            onward = (1.0 - share) * loss + share * (fee + onward)
            self._networks[k].step(passes[k], gradient, settings.learning_rate)

    def state(self) -> Tensors:
        """All that `learn` has changed."""
        shape = (0, len(self._networks), self._classes)
        state: Tensors = {
            "labels": np.array([self._labels], dtype=np.int64),
            "memory.said": np.concatenate([np.empty(shape), *(s[None] for s, _ in self._memory)]),
            "memory.labels": np.array([label for _, label in self._memory], dtype=np.int32),
        }
        for k, network in enumerate(self._networks):
            state |= {f"{k}.{name}": value for name, value in network.state().items()}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of the same settings."""
        self._labels = int(state["labels"][0])
        labels = [int(label) for label in state["memory.labels"]]
        self._memory = list(zip(state["memory.said"].copy(), labels, strict=True))
        for k, network in enumerate(self._networks):
            network.restore({name: state[f"{k}.{name}"] for name in network.state()})


class _Pass(NamedTuple):
    """What a forward pass leaves for the gradient."""

    inputs: Floats
    hidden: Floats
    share: float


class _Network:
    """One perceptron and its optimizer."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self._weights = weights
        self._moments = [{n: np.zeros_like(v) for n, v in weights.items()} for _ in range(2)]
        self._steps = 0

    def forward(self, probabilities: Floats) -> _Pass:
        """P(defer), of class probabilities `(K,)`."""
        weights = self._weights
        hidden = np.maximum(weights["w1"] @ probabilities + weights["b1"], 0.0)
        logit = float(weights["w2"] @ hidden + weights["b2"][0])
        share = 1.0 / (1.0 + float(np.exp(min(-logit, _MOST_LOGIT))))
        return _Pass(probabilities, hidden, share)

    def step(self, seen: _Pass, gradient: float, learning_rate: float) -> None:
        """Adam, from the gradient with respect to P(defer), and the weights' own penalty."""
        logit = gradient * seen.share * (1.0 - seen.share)
        hidden = logit * self._weights["w2"] * (seen.hidden > 0.0)
        gradients = {
            "w1": np.outer(hidden, seen.inputs),
            "b1": hidden,
            "w2": logit * seen.hidden,
            "b2": np.array([logit]),
        }
        self._steps += 1
        rate = learning_rate * (1.0 - _BETAS[1] ** self._steps) ** 0.5
        rate /= 1.0 - _BETAS[0] ** self._steps
        epsilon = _EPSILON * (1.0 - _BETAS[1] ** self._steps) ** 0.5
        first, second = self._moments
        for name, weight in self._weights.items():
            whole = gradients[name] + 2.0 * _DECAY * weight
            first[name] += (1.0 - _BETAS[0]) * (whole - first[name])
            second[name] += (1.0 - _BETAS[1]) * (whole * whole - second[name])
            np.subtract(weight, rate * first[name] / (np.sqrt(second[name]) + epsilon), out=weight)

    def state(self) -> Tensors:
        """Weights, moments, steps."""
        named = zip(("weights", "first", "second"), (self._weights, *self._moments), strict=True)
        state: Tensors = {f"{kind}.{n}": v for kind, group in named for n, v in group.items()}
        return state | {"steps": np.array([self._steps], dtype=np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As it was."""
        self._weights = {name: state[f"weights.{name}"].copy() for name in self._weights}
        self._moments = [
            {name: state[f"{kind}.{name}"].copy() for name in self._weights}
            for kind in ("first", "second")
        ]
        self._steps = int(state["steps"][0])
