"""`escalade evaluate` with few resamples, and traces of two models, two seeds of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.trace import (
    TRACE_SCHEMA,
    Link,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceHeader,
    TraceRecord,
    write_trace,
)

Invoke = Callable[..., tuple[int, str, str]]

HEADER = TraceHeader(
    schema=TRACE_SCHEMA,
    tiers=[
        TierInfo(
            name="device",
            place="device",
            members=[MemberInfo(name="small", parameters=100)],
            rule="mean",
            threshold=0.5,
        ),
        TierInfo(name="cloud", place="cloud", members=[MemberInfo(name="large", parameters=1000)]),
    ],
    created="2026-01-02T03:04:05Z",
)
QUERIES = 60


@pytest.fixture
def evaluate(invoke: Invoke) -> Invoke:
    """Run `escalade evaluate ARGUMENTS` with few resamples."""
    return partial(invoke, "evaluate", "--resamples", "20")


def record(k: int, rng: np.random.Generator, error_rate: float) -> TraceRecord:
    right = f"AA B K {k % 7} T"
    wrong = rng.random() < error_rate
    logprobs = (-rng.random(3) - (0.5 if wrong else 0.0)).tolist()
    device = TierAnswer(
        text="AA B" if wrong else right,
        members=[
            MemberAnswer(
                member=0,
                text="AA B" if wrong else right,
                logprobs=logprobs,
                prompt_tokens=3,
                generated_tokens=3,
                seconds=0.01,
                correct=not wrong,
            )
        ],
        score=float(-np.mean(logprobs)),
        correct=not wrong,
        seconds=0.01,
    )
    cloud = TierAnswer(
        text=right,
        members=[
            MemberAnswer(
                member=0,
                text=right,
                logprobs=[],
                prompt_tokens=3,
                generated_tokens=4,
                seconds=0.02,
                correct=True,
            )
        ],
        score=None,
        correct=True,
        seconds=0.03,
        link=Link(round_trip_s=0.03, server_s=0.02, bytes_up=100, bytes_down=80),
    )
    return TraceRecord(
        id=f"q{k}",
        task=("g2p", "p2g")[k % 2],
        prompt="x",
        references=[right],
        tiers=[device, cloud],
        answered_by=0,
        outcome="answered",
        total_s=0.01,
    )


@pytest.fixture
def traces(tmp_path: Path) -> dict[str, Path]:
    """xent is wrong on half of its queries, cat on a fifth; two seeds of each."""
    paths = {}
    for name, error_rate in (("xent", 0.5), ("cat", 0.2)):
        for seed in (1, 2):
            rng = np.random.default_rng(seed + 10 * len(name))
            path = paths[f"{name}{seed}"] = tmp_path / f"{name}{seed}.jsonl"
            write_trace(path, HEADER, [record(k, rng, error_rate) for k in range(QUERIES)])
    return paths
