"""When answers on the device end early, as their queries are deferred anyway; knows no network.

The bounds of the edge's own rules read the recorded tokens, once for all thresholds. What one token
takes is fitted to the trace: by least squares, to the tokens that an answer read and wrote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from escalade.edge.base import counted
from escalade.edge.deferral import DeferralRule, rule_named
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded import Bools, Floats, RecordedTier
from escalade.simulator.replay.setting.setting import Room

Counts = NDArray[np.int64]


class EarlyDeferral:
    """Of all tiers but the last, those of one model on the device: the others run to their end."""

    def __init__(
        self, tiers: Sequence[RecordedTier], linked: Sequence[bool], room: Room, scale: float
    ) -> None:
        """Check, and find what a token takes.

        Args:
            tiers: all of a trace.
            linked: T, whether a link leads to a tier.
            room: what an answer may have.
            scale: what recorded seconds are multiplied by.

        Raises:
            SimulatorError: no tier can end early, an answer has no log-probabilities or no room, or
                a rule is more than its name.
        """
        self._tiers = [
            (k, tier)
            for k, (tier, elsewhere) in enumerate(zip(tiers[:-1], linked, strict=False))
            if not elsewhere and tier.info.place == "device" and len(tier.info.members) == 1
        ]
        if not self._tiers:
            raise SimulatorError("early deferral needs a tier of one model on the device; got none")
        for _, tier in self._tiers:
            _check(tier)
        self._token_s = {k: scale * _token_s(tier) for k, tier in self._tiers}
        #: `(T, N)` tokens that each tier wrote, of those that may end early.
        self.written = np.zeros((len(tiers), len(tiers[0].answers)), dtype=np.int64)
        self._least = dict[int, _Least]()
        for k, tier in self._tiers:
            self.written[k] = [len(answer.members[0].logprobs) for answer in tier.answers]
            self._least[k] = _Least(rule_named(tier.info.rule or ""), tier, _longest(tier, room))

    def spared(self, thresholds: Sequence[float], defers: Bools) -> Counts:
        """Tokens that need not be written, where deferral is certain: `(T, N)`.

        Args:
            thresholds: one for each gate.
            defers: `(T, N)` whose scores are at them or above; no other answer ends early.
        """
        found = np.zeros_like(self.written)
        for k, least in self._least.items():
            seen = np.minimum(1 + least.below(thresholds[k]), self.written[k])
            found[k] = np.where(defers[k], self.written[k] - seen, 0)
        return found

    def seconds(self, spared: Counts) -> Floats:
        """What those take, tier by tier: `(T, N)`."""
        each = np.array([self._token_s.get(k, 0.0) for k in range(len(spared))])
        return np.asarray(each[:, None] * spared)


class _Least:
    """The least score that each of N answers can still have, token by token: see `EarlyStop`."""

    def __init__(self, rule: DeferralRule, tier: RecordedTier, longest: Sequence[int]) -> None:
        self._lowest = rule.lowest
        rows = list[Floats]()
        for answer, most in zip(tier.answers, longest, strict=True):
            bound = rule.running_bound(most)
            each = np.array([bound(logprob) for logprob in answer.members[0].logprobs])
            # What is certain stays so; a bound that is no number makes nothing certain.
            rows.append(np.maximum.accumulate(np.where(np.isnan(each), -np.inf, each)))
        self._scores = np.concatenate(rows)
        self._from = np.concatenate([[0], np.cumsum([len(row) for row in rows])[:-1]])

    def below(self, threshold: float) -> Counts:
        """After how many tokens of each answer deferral is not certain: `(N,)`."""
        if threshold <= self._lowest:
            return np.zeros(len(self._from), dtype=np.int64)
        below = (self._scores < threshold).astype(np.int64)
        return np.asarray(np.add.reduceat(below, self._from))


def _check(tier: RecordedTier) -> None:
    name = tier.info.name
    try:
        rule_named(tier.info.rule or "")
    except ValueError as error:
        raise SimulatorError(
            f"early deferral needs a rule by name after tier {name!r}: {error}"
        ) from error
    lengths = [len(answer.members[0].logprobs) for answer in tier.answers]
    if lacking := lengths.count(0):
        raise SimulatorError(
            f"{lacking} of {len(lengths)} answers of tier {name!r} have no token log-probabilities:"
            " the trace serves every sweep but that of early deferral"
        )


def _longest(tier: RecordedTier, room: Room) -> list[int]:
    """How many tokens each answer might have had, as `Artifact.room_for` says."""
    found = []
    for id_, answer in zip(tier.ids, tier.answers, strict=True):
        (said,) = answer.members
        left = math.inf if room.window is None else room.window - said.prompt_tokens
        found.append(int(min(room.tokens, left)))
        if found[-1] < len(said.logprobs):
            raise SimulatorError(
                f"tier {tier.info.name!r} answers query {id_!r} in"
                f" {counted(len(said.logprobs), 'token')}, after {said.prompt_tokens} of its"
                f" prompt; got room for {found[-1]}"
            )
    return found


def _token_s(tier: RecordedTier) -> float:
    """Seconds that a token takes to write; 0 where all answers are as long, and nothing tells."""
    said = [answer.members[0] for answer in tier.answers]
    tokens = np.array([[one.prompt_tokens, one.generated_tokens] for one in said], dtype=np.float64)
    took_s = np.array([one.seconds for one in said])
    slopes, *_ = np.linalg.lstsq(tokens - tokens.mean(axis=0), took_s - took_s.mean())
    # No token takes more than an answer of one, and none gives time back.
    return float(min(max(0.0, slopes[1]), (took_s / tokens[:, 1]).min()))
