"""What is taken from traces as the expert's answers, and what is left out and counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import small_traces
from msgspec.structs import replace
from small_traces import cloud, device

from escalade.edge.errors import DataError
from escalade.edge.trace import (
    Outcome,
    TierAnswer,
    Trace,
    TraceHeader,
    TraceRecord,
)
from escalade.training.improvement.heard import Heard, HeardCounts, hear


def tokens_of(text: str) -> int:
    return len(text.split())


def header(revision: str | None = "e1", tiers: int = 2) -> TraceHeader:
    below = [replace(device(), name=name) for name in ("device", "gateway")[: tiers - 1]]
    above = cloud()
    (member,) = above.members
    return small_traces.header(*below, replace(above, members=[replace(member, revision=revision)]))


def said(text: str, *, ended: bool = True) -> TierAnswer:
    return small_traces.tier_answer(text, [-0.1] * (tokens_of(text) + ended))


def record(
    prompt: str,
    *tiers: TierAnswer | None,
    answered_by: int = 1,
    outcome: Outcome = "deferred",
) -> TraceRecord:
    return small_traces.record(
        prompt, *tiers, prompt=prompt, answered_by=answered_by, outcome=outcome
    )


def heard(records: Sequence[TraceRecord]) -> tuple[list[Heard], HeardCounts]:
    return hear([Trace(header(), list(records))], header(), tokens_of)


def test_deferred_and_audited_queries_have_the_expert_s_answer_and_kept_ones_none() -> None:
    found, counts = heard(
        [
            record("deferred", said("a"), said("x y")),
            record("audited", said("a"), said("b"), answered_by=0, outcome="answered"),
            record("kept", said("a"), None, answered_by=0, outcome="answered"),
        ]
    )
    assert found == [
        Heard("t", "deferred", "x y"),
        Heard("t", "audited", "b"),
        Heard("t", "kept", None),
    ]
    assert counts == HeardCounts(queries=3, deferred=1, audited=1, kept=1)


def test_what_is_degraded_or_cut_is_left_out_and_counted() -> None:
    found, counts = heard(
        [
            record("degraded", said("a"), None, answered_by=0, outcome="degraded"),
            record("at a gateway", said("a"), said("b"), outcome="degraded"),
            record("cut", said("a"), said("x y", ended=False)),
        ]
    )
    assert [one.answer for one in found] == [None, None, None]
    assert counts == HeardCounts(queries=3, degraded=2, cut=1)


def test_a_prompt_that_came_again_is_there_once_with_the_newest_answer() -> None:
    old = Trace(header(), [record("p", said("a"), said("old")), record("q", said("a"), said("q"))])
    kept = record("q", said("a"), None, answered_by=0, outcome="answered")
    new = Trace(header(), [record("p", said("a"), said("new")), kept])
    found, counts = hear([old, new], header(), tokens_of)
    assert found == [Heard("t", "p", "new"), Heard("t", "q", "q")]
    assert counts == HeardCounts(queries=4, deferred=3, kept=1, repeated=2)


@pytest.mark.parametrize(("was", "known"), [("e1", True), (None, True), ("e0", False)])
def test_another_expert_s_answers_are_left_out(was: str | None, known: bool) -> None:
    trace = Trace(header(was), [record("p", said("a"), said("b"))])
    found, counts = hear([trace], header("e1"), tokens_of)
    assert found == [Heard("t", "p", "b" if known else None)]
    assert counts == HeardCounts(queries=1, deferred=int(known), other_expert=int(not known))


def test_the_expert_is_the_last_tier_and_a_middle_one_is_none() -> None:
    middle = record("m", said("a"), said("m"), None, answered_by=1)
    last = record("l", said("a"), said("m"), said("l"), answered_by=2)
    found, counts = hear([Trace(header(tiers=3), [middle, last])], header(tiers=3), tokens_of)
    assert [one.answer for one in found] == [None, "l"]
    assert counts == HeardCounts(queries=2, deferred=1, kept=1)


def test_a_trace_without_an_expert_is_refused() -> None:
    alone = record("p", said("a"), answered_by=0, outcome="answered")
    with pytest.raises(DataError, match=r"has 1 tier, 'cloud'; the expert is the last of 2"):
        hear([Trace(header(tiers=1), [alone])], header(), tokens_of)
