"""Traces built in code, with answers, times and bytes under control."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import (
    TRACE_SCHEMA,
    Link,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    Trace,
    TraceHeader,
    TraceRecord,
    latency_s,
)
from escalade.simulator.evaluation import Evaluation, evaluate

TASKS = ("g2p", "p2g", "stress", "syllables")
CREATED = "2026-01-02T03:04:05Z"


def _make_trace(
    scores: Sequence[float],
    small_correct: Sequence[bool],
    large_correct: Sequence[bool],
    *,
    threshold: float = 0.5,
    parameters: tuple[int, int] = (100, 1000),
    names: tuple[str, str] = ("small", "large"),
    prices: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0)),
    texts: Sequence[tuple[Sequence[str], str, str]] | None = None,
    logprobs: Sequence[Sequence[float]] | None = None,
) -> Trace:
    members = [
        MemberInfo(name=name, parameters=count, prompt_price=read, generated_price=written)
        for name, count, (read, written) in zip(names, parameters, prices, strict=True)
    ]
    header = TraceHeader(
        schema=TRACE_SCHEMA,
        tiers=[
            TierInfo(
                name="device",
                place="device",
                members=members[:1],
                rule="mean",
                threshold=threshold,
            ),
            TierInfo(name="cloud", place="cloud", members=members[1:]),
        ],
        created=CREATED,
    )
    said = texts or [
        (["right"], "right" if small else "wrong", "right" if large else "wrong")
        for small, large in zip(small_correct, large_correct, strict=True)
    ]
    of_tokens = logprobs or [[-score] for score in scores]
    records = []
    for k, (score, small, large) in enumerate(
        zip(scores, small_correct, large_correct, strict=True)
    ):
        references, small_text, large_text = said[k]
        device = TierAnswer(
            text=small_text,
            members=[
                MemberAnswer(
                    member=0,
                    text=small_text,
                    logprobs=list(of_tokens[k]),
                    prompt_tokens=3 + k % 3,
                    generated_tokens=2 + k % 2,
                    seconds=0.010 + 0.001 * (k % 5),
                    correct=small,
                )
            ],
            score=score,
            correct=small,
            seconds=0.010 + 0.001 * (k % 5),
        )
        cloud = TierAnswer(
            text=large_text,
            members=[
                MemberAnswer(
                    member=0,
                    text=large_text,
                    logprobs=[],
                    prompt_tokens=4 + k % 3,
                    generated_tokens=3,
                    seconds=0.020 + 0.001 * (k % 7),
                    correct=large,
                )
            ],
            score=None,
            correct=large,
            seconds=0.025 + 0.001 * (k % 7),
            link=Link(
                round_trip_s=0.025 + 0.001 * (k % 7),
                server_s=0.020 + 0.001 * (k % 7),
                bytes_up=200 + k % 11,
                bytes_down=120 + k % 5,
            ),
        )
        records.append(
            TraceRecord(
                id=f"q{k}",
                task=TASKS[k % len(TASKS)],
                prompt=f"prompt {k}",
                references=list(references),
                tiers=[device, cloud],
                answered_by=1 if score >= threshold else 0,
                outcome="deferred" if score >= threshold else "answered",
                total_s=device.seconds + (cloud.seconds if score >= threshold else 0.0),
            )
        )
    return Trace(header, records)


def _make_cascade(
    members: Sequence[int],
    queries: int,
    *,
    seed: int = 0,
    linked: Sequence[bool] | None = None,
    side_by_side: Sequence[bool] | None = None,
    thresholds: Sequence[float] | None = None,
    answers: int = 3,
) -> Trace:
    rng = np.random.default_rng(seed)
    tiers = len(members)
    behind_links = linked or [k == tiers - 1 for k in range(tiers)]
    at_once = side_by_side or [False] * tiers
    taus = thresholds or [0.5] * (tiers - 1)
    infos = [
        TierInfo(
            name=f"tier{k}",
            place="cloud" if behind_links[k] else "device",
            members=[
                MemberInfo(
                    name=f"model{k}.{m}",
                    parameters=int(rng.integers(1, 9)) * 10**k,
                    prompt_price=float(rng.integers(0, 5)),
                    generated_price=float(rng.integers(0, 9)),
                )
                for m in range(count)
            ],
            side_by_side=at_once[k],
            rule=None if k == tiers - 1 else "vote" if count > 1 else "mean",
            threshold=None if k == tiers - 1 else taus[k],
        )
        for k, count in enumerate(members)
    ]
    records = []
    for q in range(queries):
        said = [
            _tier_answer(rng, info, behind_links[k], answers, k) for k, info in enumerate(infos)
        ]
        records.append(
            TraceRecord(
                id=f"q{q}",
                task=TASKS[q % len(TASKS)],
                prompt=f"prompt {q}",
                references=["a0"],
                tiers=list(said),
                answered_by=tiers - 1,
                outcome="deferred",
                total_s=sum(one.seconds for one in said) + q / 100,
            )
        )
    return Trace(TraceHeader(schema=TRACE_SCHEMA, tiers=infos, created=CREATED), records)


def _tier_answer(
    rng: np.random.Generator, info: TierInfo, linked: bool, answers: int, k: int
) -> TierAnswer:
    said = []
    for m in range(len(info.members)):
        text = f"a{min(rng.integers(0, answers), rng.integers(0, answers + k))}"
        said.append(
            MemberAnswer(
                member=m,
                text=text,
                logprobs=(-rng.random(int(rng.integers(1, 4)))).tolist(),
                prompt_tokens=int(rng.integers(1, 9)),
                generated_tokens=int(rng.integers(1, 9)),
                seconds=float(rng.random()),
                correct=text == "a0",
            )
        )
    texts = [one.text for one in said]
    most = max(texts, key=lambda one: (texts.count(one), -texts.index(one)))
    link = Link(
        round_trip_s=float(rng.random()) + 0.5,
        server_s=0.4,
        bytes_up=int(rng.integers(100, 200)),
        draft_bytes=int(rng.integers(0, 50)),
        bytes_down=int(rng.integers(50, 99)),
    )
    if info.rule == "vote":
        score: float | None = (len(texts) - texts.count(most)) / len(texts)
    else:
        score = None if info.rule is None else float(rng.integers(0, 5)) / 4
    took_s = link.round_trip_s if linked else latency_s(said, side_by_side=info.side_by_side)
    return TierAnswer(
        text=most or "",
        members=said,
        score=score,
        correct=most == "a0",
        seconds=took_s + float(rng.random()) / 9,
        link=link if linked else None,
    )


def _with_answer(record: TraceRecord, tier: int, **changes: object) -> TraceRecord:
    answers = list(record.tiers)
    changed = answers[tier]
    assert changed is not None
    answers[tier] = msgspec.structs.replace(changed, **changes)
    return msgspec.structs.replace(record, tiers=answers)


def _without_answer(record: TraceRecord, tier: int) -> TraceRecord:
    answers = [None if k == tier else answer for k, answer in enumerate(record.tiers)]
    return msgspec.structs.replace(record, tiers=answers, answered_by=0, outcome="degraded")


@pytest.fixture(scope="session")
def make_trace() -> Callable[..., Trace]:
    """Builds a shadow-mode trace of two tiers from scores and correctness; ids are `q{k}`.

    `texts` gives each query (references, small answer, large answer), `logprobs` the tokens'.
    """
    return _make_trace


@pytest.fixture(scope="session")
def make_cascade() -> Callable[..., Trace]:
    """Builds a shadow-mode trace of tiers of as many members as told, all else by the seed.

    Tiers of several members vote. The last tier is behind a link, if not told otherwise. "a0" is
    the right answer; there are few others, so that members agree more often than not.
    """
    return _make_cascade


@pytest.fixture(scope="session")
def with_answer() -> Callable[..., TraceRecord]:
    """`(record, tier, **changes)`: the record with a tier's answer changed."""
    return _with_answer


@pytest.fixture(scope="session")
def without_answer() -> Callable[[TraceRecord, int], TraceRecord]:
    """`(record, tier)`: the record of a query that the tier did not answer."""
    return _without_answer


@pytest.fixture(scope="session")
def realistic_trace() -> Trace:
    """1000 queries; small 0.6, large 0.75; wrong small answers score higher on average."""
    return _realistic(seed=1, small_accuracy=0.6)


@pytest.fixture(scope="session")
def better_trace() -> Trace:
    """The same queries under a small model that is right more often."""
    return _realistic(seed=2, small_accuracy=0.68)


@pytest.fixture(scope="session")
def evaluation(realistic_trace: Trace, better_trace: Trace) -> Evaluation:
    """Two models of two seeds under two rules, each task by itself too."""
    groups = {"xent": [realistic_trace, better_trace], "cat": [better_trace, better_trace]}
    return evaluate(groups, rules=["recorded", "mean"], resamples=20, by_task=True)


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
