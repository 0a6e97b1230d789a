"""The rule by which a query climbs, against a plain loop: any tiers, scores and failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_clock import VirtualClock

from escalade.edge import Cascade, Query
from escalade.edge.deferral import Gate, mean_nll
from escalade.edge.errors import ArtifactError, CloudError, EdgeError, PromptError
from escalade.edge.generation import Delta
from escalade.edge.run import Run
from escalade.edge.tiers import Call, Prompts, Said
from escalade.edge.tiers.tier import Saying, Source
from escalade.edge.trace import MemberAnswer, MemberInfo, Place, TierAnswer

FAILURES: dict[str, EdgeError] = {
    "silent": CloudError("UNAVAILABLE", "nobody there"),
    "too long": PromptError("the prompt is too long"),
    "no template": ArtifactError("the model has no chat template"),
}


@dataclass(frozen=True)
class Plan:
    """What a tier will do."""

    score: float
    quarters: int
    deltas: int
    fate: str
    #: The score once it is finished, where it is stopped early and has to go on.
    final: float | None
    place: Place


@dataclass
class Scripted:
    """A tier that does what its plan says, and remembers what it was asked."""

    name: str
    plan: Plan
    clock: VirtualClock
    calls: list[Call] = field(default_factory=list)
    side_by_side: bool = False
    deadline_s: float = 0.0
    opened: Sequence[Any] = ()

    @property
    def place(self) -> Place:
        return self.plan.place

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        return [MemberInfo(name=self.name, parameters=1)]

    def check(self, prompts: Prompts) -> None:
        pass

    def close(self) -> None:
        pass

    def ask(self, call: Call) -> Saying:
        self.calls.append(call)
        yield from self._work()
        if self.plan.fate in FAILURES:
            raise FAILURES[self.plan.fate]
        if self.plan.fate == "cancelled":
            return None
        early = self.plan.final is not None and call.can_defer and not call.whole
        if early or self.plan.final is None or call.gate is None:
            return self._said(call, self.plan.score, stopped_early=early)
        return self._said(call, self.plan.final)

    def _work(self) -> Iterator[Delta]:
        for _ in range(self.plan.deltas):
            self.clock.sleep_s(0.25)
            yield Delta(None, self.name, None)
        self.clock.sleep_s(0.25 * self.plan.quarters)

    def _resume(self, call: Call) -> Saying:
        yield from self._work()
        if self.plan.fate == "cancelled later":
            return None
        assert self.plan.final is not None
        return self._said(call, self.plan.final)

    def _said(self, call: Call, score: float, *, stopped_early: bool = False) -> Said:
        gate = call.gate
        member = MemberAnswer(
            member=0, text=self.name, logprobs=[], prompt_tokens=1, generated_tokens=1, seconds=0.0
        )
        answer = TierAnswer(
            text=f"{self.name}{'...' if stopped_early else ''}",
            members=[member],
            score=None if gate is None else score,
            correct=None,
            seconds=0.0,
            stopped_early=stopped_early,
        )
        return Said(
            answer,
            stopped_early or (gate is not None and gate.defers(score)),
            "end",
            Source(self.name, "", "", [], []),
            resume=(lambda: self._resume(call)) if stopped_early else None,
            degraded="its cloud is silent" if self.plan.fate == "degraded" else None,
        )


@dataclass(frozen=True)
class Expected:
    """How a query ends; None in `answered_by` where no tier answers, and in all where cancelled."""

    asked: list[int]
    answered_by: int | None = None
    outcome: str | None = None
    text: str | None = None
    total_s: float | None = None
    reason: str | None = None


def reference(plans: Sequence[Plan], thresholds: Sequence[float], *, shadow: bool) -> Expected:
    """The climbing rule, written down once more and as plainly as can be."""
    last = len(plans) - 1
    elapsed, asked, said = 0.0, [], {}
    reason = None
    stands, decided_s = None, 0.0
    for index, plan in enumerate(plans):
        asked.append(index)
        elapsed += 0.25 * (plan.deltas + plan.quarters)
        if plan.fate in FAILURES:
            reason = str(FAILURES[plan.fate])
            continue
        if plan.fate == "cancelled":
            return Expected(asked)
        early = plan.final is not None and index < last and not shadow
        whole = plan.final if plan.final is not None and index < last else plan.score
        defers = index < last and (early or not whole < thresholds[index])
        said[index] = "early" if early else "whole"
        if stands is None and not defers:
            stands, decided_s = index, elapsed
            if not shadow:
                break
    degraded = False
    if stands is None:
        if not said:
            return Expected(asked, reason=reason)
        stands = max(said)
        plan = plans[stands]
        degraded = True
        if said[stands] == "early":
            elapsed += 0.25 * (plan.deltas + plan.quarters)
            if plan.fate == "cancelled later":
                return Expected(asked)
            assert plan.final is not None
            degraded = not plan.final < thresholds[stands]
        decided_s = elapsed
    outcome = "answered" if stands == 0 else "deferred"
    if plans[stands].fate == "degraded":
        degraded, reason = True, "its cloud is silent"
    return Expected(
        asked,
        stands,
        "degraded" if degraded else outcome,
        f"tier{stands}",
        decided_s,
        reason,
    )


plans = st.builds(
    Plan,
    score=st.sampled_from([0.0, 0.5, 1.0, float("nan")]),
    quarters=st.integers(0, 4),
    deltas=st.integers(0, 2),
    fate=st.sampled_from(["well"] * 4 + ["degraded", "cancelled", "cancelled later", *FAILURES]),
    final=st.none() | st.sampled_from([0.0, 1.0]),
    place=st.sampled_from(["device", "gateway", "cloud"]),
)


climbs = st.lists(st.tuples(plans, st.sampled_from([0.25, 0.5, 0.75])), min_size=1, max_size=5)


@settings(max_examples=1000, deadline=None)
@given(climbs, st.booleans())
def test_a_query_climbs_as_the_plain_loop_says(
    steps: list[tuple[Plan, float]], shadow: bool
) -> None:
    clock = VirtualClock(1000.0)
    tiers = [Scripted(f"tier{index}", plan, clock) for index, (plan, _) in enumerate(steps)]
    thresholds = [threshold for _, threshold in steps]
    gates = [Gate(rule=mean_nll, threshold=one) for one in thresholds[:-1]]
    cascade = Cascade(tiers=tiers, gates=[*gates, None], clock=clock)
    expected = reference([plan for plan, _ in steps], thresholds, shadow=shadow)
    kept: list[object] = []
    run = Run(cascade, Query(text="x"), shadow=shadow, remember=kept.append)

    def read() -> None:
        for delta in run:
            assert delta.text.startswith("tier")
            clock.sleep_s(7.25)  # what the caller does with it is no time of the query's

    if expected.answered_by is None and expected.reason is not None:
        with pytest.raises(EdgeError) as caught:
            read()
        assert str(caught.value) == expected.reason
    else:
        read()
    assert [index for index, tier in enumerate(tiers) if tier.calls] == expected.asked
    for index, tier in enumerate(tiers):
        assert len(tier.calls) <= 1  # nobody is asked twice
        for call in tier.calls:
            assert (call.can_defer, call.whole) == (index < len(tiers) - 1, shadow)
    answer = run.answer
    assert kept == ([] if answer is None else [answer])
    if answer is None:
        assert expected.answered_by is None
        return
    by = answer.answered_by
    assert (by, answer.outcome) == (expected.answered_by, expected.outcome)
    assert (answer.text, answer.said.text) == (expected.text, expected.text)
    assert (answer.total_s, answer.reason) == (expected.total_s, expected.reason)
    assert (answer.tier, answer.place) == (tiers[by].name, tiers[by].place)
    gave = [index for index in expected.asked if steps[index][0].fate not in FAILURES]
    assert [index for index, one in enumerate(answer.tiers) if one is not None] == gave
    # What the last gate said that the query came to.
    judged = [index for index in gave if index <= by and index < len(tiers) - 1]
    if not judged:
        assert (answer.score, answer.threshold, answer.would_defer) == (None, None, False)
        return
    at = judged[-1]
    said = answer.tiers[at]
    assert said is not None
    assert (answer.threshold, answer.score) == (thresholds[at], said.score)
    assert said.score is not None
    assert answer.would_defer == (at < by or not said.score < thresholds[at])
