"""Traces of schema 1 (one small model, one large one) as they are said today; knows no file."""

from __future__ import annotations

from collections.abc import Sequence
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
    Trace,
    TraceHeader,
    TraceRecord,
)


class _Model(Line, frozen=True, kw_only=True):
    name: str
    parameters: int
    program_sha256: str | None = None


class Header1(Line, frozen=True, kw_only=True):
    """The first line as it was."""

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


class Record1(Line, frozen=True, kw_only=True):
    """Another line as it was."""

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


def header_of_1(raw: bytes | msgspec.Raw) -> Header1:
    """The first line.

    Raises:
        DecodeError, UnicodeDecodeError: it holds something else.
    """
    return msgspec.json.decode(raw, type=Header1)


def record_of_1(raw: bytes | msgspec.Raw) -> Record1:
    """Another line; see `header_of_1`."""
    record = msgspec.json.decode(raw, type=Record1)
    if record.outcome == "deferred" and record.large is None:
        raise msgspec.ValidationError("outcome is 'deferred', and there is no large model's answer")
    return record


def converted(old: Header1, records: Sequence[Record1]) -> Trace:
    """A whole trace.

    The second tier is there where a cloud was reached or ought to have been; without members
    where it was silent when the trace began, so that nothing says who answered later.
    """
    cloud = old.large is not None or any(
        record.large is not None or record.reason is not None for record in records
    )
    return Trace(_header(old, cloud=cloud), [_record(one, cloud=cloud) for one in records])


def _header(old: Header1, *, cloud: bool) -> TraceHeader:
    tiers = [
        TierInfo(
            name="device",
            place="device",
            members=[_member(old.small)],
            rule=old.rule,
            threshold=old.threshold,
        )
    ]
    if cloud:
        members = [] if old.large is None else [_member(old.large)]
        tiers.append(TierInfo(name="cloud", place="cloud", members=members))
    return TraceHeader(schema=TRACE_SCHEMA, tiers=tiers, created=old.created)


def _record(old: Record1, *, cloud: bool) -> TraceRecord:
    answers: list[TierAnswer | None] = [_small(old)]
    if cloud:
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


def _small(old: Record1) -> TierAnswer:
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
