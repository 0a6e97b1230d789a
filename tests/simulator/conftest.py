"""Traces built in code, with answers, times and bytes under control."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest

from escalade.edge.trace.trace import (
    TRACE_SCHEMA,
    LargeAnswer,
    ModelInfo,
    SmallAnswer,
    Trace,
    TraceHeader,
    TraceRecord,
)

TASKS = ("g2p", "p2g", "stress", "syllables")


def _make_trace(
    scores: Sequence[float],
    small_correct: Sequence[bool],
    large_correct: Sequence[bool],
    *,
    threshold: float = 0.5,
    parameters: tuple[int, int] = (100, 1000),
    names: tuple[str, str] = ("small", "large"),
    texts: Sequence[tuple[Sequence[str], str, str]] | None = None,
    logprobs: Sequence[Sequence[float]] | None = None,
) -> Trace:
    header = TraceHeader(
        schema=TRACE_SCHEMA,
        small=ModelInfo(name=names[0], parameters=parameters[0]),
        large=ModelInfo(name=names[1], parameters=parameters[1]),
        rule="mean",
        threshold=threshold,
        created="2026-01-02T03:04:05Z",
    )
    records = [
        TraceRecord(
            id=f"q{k}",
            task=TASKS[k % len(TASKS)],
            prompt=f"prompt {k}",
            references=["right"],
            small=SmallAnswer(
                text="right" if small else "wrong",
                logprobs=[-score],
                prompt_tokens=3 + k % 3,
                generated_tokens=2 + k % 2,
                generate_s=0.010 + 0.001 * (k % 5),
                correct=small,
            ),
            large=LargeAnswer(
                text="right" if large else "wrong",
                prompt_tokens=4 + k % 3,
                generated_tokens=3,
                correct=large,
                round_trip_s=0.025 + 0.001 * (k % 7),
                server_s=0.020 + 0.001 * (k % 7),
                bytes_up=200 + k % 11,
                bytes_down=120 + k % 5,
            ),
            score=score,
            outcome="deferred" if score >= threshold else "answered",
            total_s=0.05,
        )
        for k, (score, small, large) in enumerate(
            zip(scores, small_correct, large_correct, strict=True)
        )
    ]
    if texts is not None:
        records = [
            msgspec.structs.replace(
                record,
                references=list(references),
                small=msgspec.structs.replace(record.small, text=small),
                large=msgspec.structs.replace(record.large, text=large),
            )
            for record, (references, small, large) in zip(records, texts, strict=True)
        ]
    if logprobs is not None:
        records = [
            msgspec.structs.replace(
                record, small=msgspec.structs.replace(record.small, logprobs=list(values))
            )
            for record, values in zip(records, logprobs, strict=True)
        ]
    return Trace(header, records)


@pytest.fixture(scope="session")
def make_trace() -> Callable[..., Trace]:
    """Builds a shadow-mode trace from scores and correctness; the k-th query is `q{k}`.

    `texts` gives each query (references, small answer, large answer), `logprobs` the tokens'.
    """
    return _make_trace


@pytest.fixture(scope="session")
def realistic_trace() -> Trace:
    """1000 queries; small 0.6, large 0.75; wrong small answers score higher on average."""
    return _realistic(seed=1, small_accuracy=0.6)


@pytest.fixture(scope="session")
def better_trace() -> Trace:
    """The same queries under a small model that is right more often."""
    return _realistic(seed=2, small_accuracy=0.68)


def _realistic(*, seed: int, small_accuracy: float, n: int = 1000) -> Trace:
    # The large model is the same for both, so its answers are drawn from one seed.
    large = np.random.default_rng(0).random(n) < 0.75
    rng = np.random.default_rng(seed)
    small = rng.random(n) < small_accuracy
    scores = rng.gamma(2.0, np.where(small, 0.1, 0.3))
    return _make_trace(
        scores.tolist(),
        small.tolist(),
        large.tolist(),
        threshold=0.35,
        parameters=(900_000, 6_200_000),
        names=("escalade-small", "escalade-large"),
    )
