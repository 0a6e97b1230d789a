"""Traces that tests of several parts share: each tier of one model, built in code, tiny."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from escalade.edge.trace import (
    TRACE_SCHEMA,
    Link,
    MemberAnswer,
    MemberInfo,
    Outcome,
    TierAnswer,
    TierInfo,
    TraceHeader,
    TraceRecord,
)

CREATED = "2026-01-02T03:04:05+00:00"


def device(
    threshold: float | None = 0.5, *, model: str = "small", program: str | None = None
) -> TierInfo:
    """A tier on the device that defers by the mean rule; `program` is its digest."""
    return TierInfo(
        name="device",
        place="device",
        members=[MemberInfo(name=model, parameters=1, program_sha256=program)],
        rule="mean",
        threshold=threshold,
    )


def cloud(name: str = "cloud", *, model: str = "large") -> TierInfo:
    """The last tier."""
    return TierInfo(name=name, place="cloud", members=[MemberInfo(name=model, parameters=9)])


def header(*tiers: TierInfo) -> TraceHeader:
    """Of a device and a cloud unless told otherwise."""
    return TraceHeader(
        schema=TRACE_SCHEMA, tiers=list(tiers) or [device(), cloud()], created=CREATED
    )


def tier_answer(
    text: str = "a",
    logprobs: Sequence[float] = (-0.5,),
    *,
    prompt_tokens: int = 1,
    score: float | None = 0.5,
    correct: bool | None = None,
) -> TierAnswer:
    """What a tier said in a tenth of a second, of so many tokens as there are log-probabilities."""
    member = MemberAnswer(
        member=0,
        text=text,
        logprobs=list(logprobs),
        prompt_tokens=prompt_tokens,
        generated_tokens=len(logprobs),
        seconds=0.1,
        correct=correct,
    )
    return TierAnswer(text=text, members=[member], score=score, correct=correct, seconds=0.1)


def record(
    identity: str,
    *tiers: TierAnswer | None,
    prompt: str = "p",
    references: Sequence[str] = (),
    answered_by: int = 0,
    outcome: Outcome | None = None,
) -> TraceRecord:
    """A query that went through tiers; deferred where it was not the first that answered."""
    return TraceRecord(
        id=identity,
        task="t",
        prompt=prompt,
        references=list(references),
        tiers=list(tiers),
        answered_by=answered_by,
        outcome=outcome or ("deferred" if answered_by else "answered"),
        total_s=0.1,
    )


def deferrable(count: int) -> list[TraceRecord]:
    """Queries that a device gets right the less often the higher their score, and a cloud always.

    Of the cloud's answers the link is told. One seed, so that the same come each time.
    """
    rng = np.random.default_rng(4)
    link = Link(round_trip_s=0.05, server_s=0.04, bytes_up=300, bytes_down=200)
    return [
        record(
            f"q{k}",
            tier_answer(score=float(score), correct=bool(rng.random() > score)),
            msgspec.structs.replace(tier_answer(score=None, correct=True), link=link),
        )
        for k, score in enumerate(rng.random(count))
    ]
