"""Traces of schema 1 (one small model, one large one) as they are said today; knows no file."""

from __future__ import annotations

from typing import Literal

import msgspec

from escalade.edge.trace.schema import (
    TRACE_SCHEMA,
    Line,
    Link,
    MemberAnswer,
    MemberInfo,
    Outcome,
    TierAnswer,
    TierInfo,
    TraceHeader,
    TraceRecord,
)


class _Model(Line, frozen=True, kw_only=True):
    name: str
    parameters: int
    program_sha256: str | None = None


class _Header(Line, frozen=True, kw_only=True):
    schema: Literal[1]
    small: _Model
    large: _Model | None
    rule: str
    threshold: float
    created: str


class _Small(Line, frozen=True, kw_only=True):
    text: str
    # None stood for whatever is not finite.
    logprobs: list[float | None]
    prompt_tokens: int
    generated_tokens: int
    generate_s: float
    correct: bool | None
    stopped_early: bool = False


class _Large(Line, frozen=True, kw_only=True):
    text: str
    prompt_tokens: int
    generated_tokens: int
    correct: bool | None
    attempts: int = 1
    round_trip_s: float
    server_s: float
    bytes_up: int
    draft_bytes: int = 0
    bytes_down: int


class _Record(Line, frozen=True, kw_only=True):
    id: str
    task: str
    prompt: str
    references: list[str]
    small: _Small
    large: _Large | None
    score: float | None
    outcome: Outcome
    total_s: float
    reason: str | None = None


def header_of_1(raw: bytes | msgspec.Raw) -> TraceHeader:
    """The header of a trace of schema 1; the second tier is there where a cloud was reached."""
    old = msgspec.json.decode(raw, type=_Header)
    tiers = [
        TierInfo(
            name="device",
            place="device",
            members=[_member(old.small)],
            rule=old.rule,
            threshold=old.threshold,
        )
    ]
    if old.large is not None:
        tiers.append(TierInfo(name="cloud", place="cloud", members=[_member(old.large)]))
    return TraceHeader(schema=TRACE_SCHEMA, tiers=tiers, created=old.created)


def record_of_1(raw: bytes | msgspec.Raw, tiers: int) -> TraceRecord:
    """A record of schema 1.

    Args:
        raw: its line.
        tiers: how many the header has: 1 or 2.
    """
    old = msgspec.json.decode(raw, type=_Record)
    if old.large is not None and tiers == 1:
        raise msgspec.ValidationError("a large model's answer, and the header names no such model")
    answers: list[TierAnswer | None] = [_small(old)]
    if tiers > 1:
        answers.append(None if old.large is None else _large(old.large))
    return TraceRecord(
        id=old.id,
        task=old.task,
        prompt=old.prompt,
        references=old.references,
        tiers=answers,
        answered_by=1 if old.outcome == "deferred" else 0,
        outcome=old.outcome,
        total_s=old.total_s,
        reason=old.reason,
    )


def _member(old: _Model) -> MemberInfo:
    return MemberInfo(name=old.name, parameters=old.parameters, program_sha256=old.program_sha256)


def _small(old: _Record) -> TierAnswer:
    small = old.small
    said = MemberAnswer(
        member=0,
        text=small.text,
        logprobs=[float("nan") if one is None else one for one in small.logprobs],
        prompt_tokens=small.prompt_tokens,
        generated_tokens=small.generated_tokens,
        seconds=small.generate_s,
        correct=small.correct,
    )
    return TierAnswer(
        text=small.text,
        members=[said],
        score=float("nan") if old.score is None else old.score,
        correct=small.correct,
        seconds=small.generate_s,
        stopped_early=small.stopped_early,
    )


def _large(old: _Large) -> TierAnswer:
    said = MemberAnswer(
        member=0,
        text=old.text,
        logprobs=[],
        prompt_tokens=old.prompt_tokens,
        generated_tokens=old.generated_tokens,
        seconds=old.server_s,
        correct=old.correct,
    )
    return TierAnswer(
        text=old.text,
        members=[said],
        score=None,
        correct=old.correct,
        seconds=old.round_trip_s,
        link=Link(
            attempts=old.attempts,
            round_trip_s=old.round_trip_s,
            server_s=old.server_s,
            bytes_up=old.bytes_up,
            draft_bytes=old.draft_bytes,
            bytes_down=old.bytes_down,
        ),
    )
