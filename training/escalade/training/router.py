"""Trains the edge's learned deferral rule on a recorded trace; knows no language model.

EdgeInference (Kag et al. 2023, ICLR), as appendix B of the CAT paper (arXiv 2406.00060)
adapts it: both models stay frozen, the router alone learns, with cross-entropy on a
one-hot target. What the target is the appendix leaves open. Here it is Kag et al.'s own:
defer where that gains, which is where the large model is right and the small one wrong
(their oracle keeps a query on the device where the small model is right or the large
one is wrong).

The alternative is 'the small model is wrong'. It needs no large answers, but sends up
queries that neither model gets right. Neither target counts the queries that deferring
spoils; the best order for quality is P(large right) - P(small right) (Jitkrittum et al.
2023, NeurIPS), which is no one-hot target.

Gains are rare. The classes are not weighted for it: weights would shift the logit, which
a calibrated threshold undoes, and without them the logit is the log-odds of a gain.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from escalade.edge.deferral import Router, mean_nll, token_probabilities
from escalade.edge.trace import TraceRecord
from escalade.training.errors import TrainingError

_HELD_OUT = 0.2
_BATCH_SIZE = 128
# Of 1e-3, 3e-3 and 1e-2 the lowest held-out loss on a validation trace of the bundled cascade.
_LEARNING_RATE = 1e-2
# Epochs without a lower held-out loss, after which more would only overfit.
_PATIENCE = 20

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """How well a score puts queries in order: areas under the ROC curve, 0.5 is chance."""

    #: Of 'deferring gains', what the router learns.
    auroc_gain: float
    #: Of 'the small model is wrong'; None where it always is.
    auroc_small_wrong: float | None


class RouterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How training went; losses and rankings are of the held-out queries.

    Their loss also chose the epoch, so it flatters the router a little: the deferral curve
    on another trace is the measure that counts.
    """

    #: Queries in all, how many of them were held out, and on what share deferring gains.
    n: int
    held_out: int
    gain_rate: float
    #: The epoch whose weights were kept; 0 is before training.
    epoch: int
    #: Mean cross-entropy in nats.
    loss: float
    #: The same for a router that always says the gain rate of the queries it trained on.
    baseline_loss: float
    router: Ranking
    #: Equation 5 on the same queries.
    mean_rule: Ranking


class TrainedRouter(NamedTuple):
    """A router for the device, and how its training went."""

    router: Router
    figures: RouterFigures


def train_router(
    records: Sequence[TraceRecord],
    *,
    hidden: Sequence[int] = (64,),
    length: int | None = None,
    epochs: int = 200,
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainedRouter:
    """Train a router for the gate after a cascade's first tier.

    Its trace has the answers of that tier, which is one model, and of the next above it to every
    query, judged; here they are the small and the large model.

    One query in five of either class is held out; training ends when the loss on them has
    not fallen for 20 epochs, and the best epoch's weights are kept. The same records,
    settings and seed give the same router.

    Args:
        records: of a trace, or several; not those that it will be measured on.
        hidden: units of each hidden layer, each >= 1; none makes a logistic regression.
        length: tokens of a response that the router looks at; None takes the longest
            response of the trace. Positions past that one have nothing to learn from and
            count for nothing.
        epochs: passes over the data at most, >= 1.
        seed: for the held-out queries, the first weights and the order.
        progress: called with (epochs done, epochs at most).

    Raises:
        TrainingError: a setting is out of range, an answer or its judgement is missing, a
            log-probability is NaN or inf, or deferring gains on fewer than 2 queries, or on
            all but fewer than 2.
    """
    for name, value in (("epochs", epochs), ("length", length), *(("hidden", h) for h in hidden)):
        if value is not None and value < 1:
            raise TrainingError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise TrainingError(f"seed must be at least 0, got {seed}")
    gain, small_wrong = _targets(records)
    responses = [_logprobs(record) for record in records]
    longest = max(map(len, responses))
    features = np.array([token_probabilities(one, length or longest) for one in responses])
    generator = np.random.default_rng(seed)
    held = _held_out(gain, generator)
    x, y = torch.from_numpy(features).float(), torch.from_numpy(gain).float()
    rate = float(gain[~held].mean())
    network = _network([x.shape[1], *hidden, 1], longest, rate, seed)
    epoch, loss = _fit(network, x, y, held, epochs, generator, progress)
    router = to_router(network)
    of_held = [responses[int(index)] for index in np.flatnonzero(held)]

    def ranking(scores: list[float]) -> Ranking:
        values = np.array(scores)
        wrong = small_wrong[held]
        return Ranking(
            auroc_gain=_auroc(values, gain[held]),
            auroc_small_wrong=None if wrong.all() else _auroc(values, wrong),
        )

    figures = RouterFigures(
        n=len(records),
        held_out=int(held.sum()),
        gain_rate=float(gain.mean()),
        epoch=epoch,
        loss=loss,
        baseline_loss=float(-np.log(np.where(gain[held], rate, 1.0 - rate)).mean()),
        router=ranking([router(logprobs) for logprobs in of_held]),
        mean_rule=ranking([mean_nll(logprobs) for logprobs in of_held]),
    )
    return TrainedRouter(router, figures)


def to_router(network: nn.Sequential) -> Router:
    """The same network for the device: its linear layers, with ReLU between them."""
    layers = _linears(network)
    return Router([(one.weight.numpy(force=True), one.bias.numpy(force=True)) for one in layers])


def _targets(records: Sequence[TraceRecord]) -> tuple[Bools, Bools]:
    """Where deferring gains, and where the small model is wrong: both `(n,)`."""
    judged = [[tier and tier.correct for tier in record.tiers[:2]] for record in records]
    lacking = sum(len(both) < 2 or None in both for both in judged)  # noqa: PLR2004 - two tiers
    if lacking:
        raise TrainingError(
            f"{lacking} of {len(records)} records lack an answer of the second tier, or references"
            " to judge both answers by; a router learns from both (`escalade record`)"
        )
    small, large = np.array(judged, dtype=np.bool_).reshape(-1, 2).T
    small_wrong = ~small
    gain = small_wrong & large
    # One of each to learn from and one to hold out.
    if min(gain.sum(), (~gain).sum()) < 2:  # noqa: PLR2004
        raise TrainingError(
            f"deferring gains on {int(gain.sum())} of {len(records)} queries; a router needs at"
            " least 2 where it does and 2 where it does not"
        )
    return gain, small_wrong


def _logprobs(record: TraceRecord) -> Sequence[float]:
    """Of the first tier's response."""
    first = record.tiers[0]
    members = [] if first is None else first.members
    if len(members) != 1:
        raise TrainingError(
            f"record {record.id!r}: a router reads the response of one model; the first tier has"
            f" {len(members)}, whose rule is their vote"
        )
    found = members[0].logprobs
    if not found or np.isnan(mean_nll(found)):
        raise TrainingError(
            f"record {record.id!r}: needs 1 or more log-probabilities, none of them NaN or inf"
        )
    return found


def _held_out(gain: Bools, generator: np.random.Generator) -> Bools:
    """A fifth of either class, at least 1 of each."""
    held = np.zeros(gain.size, dtype=np.bool_)
    for members in (np.flatnonzero(gain), np.flatnonzero(~gain)):
        held[generator.permutation(members)[: max(1, round(_HELD_OUT * members.size))]] = True
    return held


def _network(widths: Sequence[int], longest: int, rate: float, seed: int) -> nn.Sequential:
    """ReLU between linear layers, torch's own first weights; the last bias says the base rate."""
    modules: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for inputs, outputs in itertools.pairwise(widths):
            modules += [nn.Linear(inputs, outputs), nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    linears = _linears(network)
    with torch.no_grad():
        linears[0].weight[:, longest:] = 0.0
        linears[-1].bias.fill_(float(np.log(rate / (1.0 - rate))))
    return network


def _fit(
    network: nn.Sequential,
    x: Tensor,
    y: Tensor,
    held: Bools,
    epochs: int,
    generator: np.random.Generator,
    progress: Callable[[int, int], None],
) -> tuple[int, float]:
    """Train in place; leaves the best epoch's weights and gives its number and held-out loss."""

    def held_loss() -> float:
        with torch.no_grad():
            logits = network(x[held]).squeeze(1)
            return float(F.binary_cross_entropy_with_logits(logits, y[held]))

    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE)
    kept = np.flatnonzero(~held)
    best, best_epoch, best_weights = held_loss(), 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, epochs + 1):
        for batch in torch.from_numpy(generator.permutation(kept)).split(_BATCH_SIZE):
            optimizer.zero_grad()
            logits = network(x[batch]).squeeze(1)
            F.binary_cross_entropy_with_logits(logits, y[batch]).backward()
            optimizer.step()
        progress(epoch, epochs)
        if (loss := held_loss()) < best:
            best, best_epoch, best_weights = loss, epoch, copy.deepcopy(network.state_dict())
        if epoch - best_epoch >= _PATIENCE:
            break
    network.load_state_dict(best_weights)
    return best_epoch, best


def _linears(network: nn.Sequential) -> list[nn.Linear]:
    return [module for module in network if isinstance(module, nn.Linear)]


def _auroc(scores: Floats, positive: Bools) -> float:
    """P(a positive scores higher than a negative), ties by half (Mann and Whitney 1947)."""
    negatives = np.sort(scores[~positive])
    below, not_above = (np.searchsorted(negatives, scores[positive], s) for s in ("left", "right"))
    return float((below + not_above).mean() / 2 / negatives.size)
