"""A trace as columns, checked: scores, correctness, FLOPs; knows no threshold and no time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import LargeAnswer, Trace
from escalade.simulator.errors import SimulatorError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """A trace as columns `(N,)`: scores, correctness and the FLOPs each answer cost."""

    score: Floats
    small_correct: Bools
    large_correct: Bools
    small_flops: Floats
    large_flops: Floats
    small_flops_per_token: float
    large_flops_per_token: float


def large_answers(trace: Trace) -> list[LargeAnswer]:
    """The large model's answer to every query.

    Raises:
        SimulatorError: some queries were never put to the large model.
    """
    answers = [record.large for record in trace.records if record.large is not None]
    if lacking := len(trace.records) - len(answers):
        raise SimulatorError(
            f"{lacking} of {len(trace.records)} records lack the large model's answer, and a"
            " replay needs both answers to every query; record them with `escalade record`"
        )
    return answers


def scores_of(trace: Trace) -> Floats:
    """Deferral scores `(N,)`; NaN, which always defers, becomes infinity, which does too."""
    score = np.array([record.score for record in trace.records], dtype=np.float64)
    return np.where(np.isnan(score), np.inf, score)


def answers_of(trace: Trace) -> Answers:
    """The columns a curve is made of.

    Raises:
        SimulatorError: a large answer, a judgement of an answer or a parameter count is missing.
    """
    large = large_answers(trace)
    small = [record.small for record in trace.records]
    unjudged = sum(
        s.correct is None or b.correct is None for s, b in zip(small, large, strict=True)
    )
    if unjudged:
        raise SimulatorError(
            f"{unjudged} of {len(small)} records have no references, so nothing says whether their"
            " answers are correct; a curve needs at least 1 reference for every query"
        )
    if trace.header.large is None:
        raise SimulatorError("the trace's header names no large model; its parameters are needed")
    for tier, model in (("small", trace.header.small), ("large", trace.header.large)):
        if model.parameters < 1:
            raise SimulatorError(
                f"{tier} model {model.name!r}: parameters must be >= 1; got {model.parameters}"
            )
    c_s, c_l = 2.0 * trace.header.small.parameters, 2.0 * trace.header.large.parameters
    return Answers(
        score=scores_of(trace),
        small_correct=np.array([answer.correct for answer in small], dtype=np.bool_),
        large_correct=np.array([answer.correct for answer in large], dtype=np.bool_),
        small_flops=c_s * _tokens((a.prompt_tokens, a.generated_tokens) for a in small),
        large_flops=c_l * _tokens((a.prompt_tokens, a.generated_tokens) for a in large),
        small_flops_per_token=c_s,
        large_flops_per_token=c_l,
    )


def _tokens(counts: Iterable[Sequence[int]]) -> Floats:
    return np.array([sum(pair) for pair in counts], dtype=np.float64)
