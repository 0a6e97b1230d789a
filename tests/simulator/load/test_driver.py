"""Plans on a loop whose time jumps: what is due, what is measured, and what a stall does."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumping_loop import JumpingLoop

from escalade.simulator.errors import LoadError
from escalade.simulator.load import Plan
from escalade.simulator.load.caller import Said
from escalade.simulator.load.driver import Driven, drive
from escalade.simulator.load.plan import moments, prompt_order
from escalade.simulator.load.report import LoadReport, percentiles, report_of
from escalade.v1 import cascade_pb2 as pb

Serve = Callable[[int, float], Awaitable[Said]]


def driven(plan: Plan, serve: Serve, *, prompts: int = 5) -> tuple[Driven, list[tuple[int, int]]]:
    """What came of a plan on a server, and the numbers and prompts it was asked, in order."""
    order: list[tuple[int, int]] = []

    async def main() -> Driven:
        loop = asyncio.get_running_loop()

        async def ask(number: int, prompt: int, client: int, timeout_s: float) -> Said:
            order.append((number, prompt))
            return await serve(number, loop.time())

        return await drive(plan, prompts, ask, lambda done, total: None)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main()), order


def report(plan: Plan, serve: Serve) -> LoadReport:
    found, _ = driven(plan, serve)
    return report_of(plan, found, pb.GetModelInfoResponse(), address="here", prompts=5)


ANSWER = Said(tokens=3)


def takes(seconds: float, said: Said = ANSWER) -> Serve:
    async def serve(number: int, now_s: float) -> Said:
        await asyncio.sleep(seconds)
        return said

    return serve


@given(
    rate=st.floats(0.01, 1e4),
    seed=st.integers(0, 2**32),
    arrivals=st.sampled_from(["poisson", "constant"]),
)
def test_one_seed_is_one_schedule_that_rises_and_has_its_rate(
    rate: float, seed: int, arrivals: Any
) -> None:
    plan = Plan(rate=rate, seconds=1, seed=seed, arrivals=arrivals)
    first, second = (list(itertools.islice(moments(plan), 400)) for _ in range(2))
    assert first == second
    assert all(0 <= one <= other for one, other in itertools.pairwise(first))
    # 400 gaps have a mean within 5 standard errors, each as large as the mean over its root.
    assert first[-1] * rate == pytest.approx(400, abs=5 * math.sqrt(400))


def test_another_seed_is_another_schedule() -> None:
    one, other = (next(moments(Plan(rate=5, seconds=1, seed=seed))) for seed in (1, 2))
    assert one != other


@given(prompts=st.integers(1, 50), seed=st.integers(0, 1000))
def test_every_prompt_is_asked_as_often_as_every_other(prompts: int, seed: int) -> None:
    order = prompt_order(prompts, seed)
    for _ in range(3):
        assert sorted(itertools.islice(order, prompts)) == list(range(prompts))


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(1, 200),
    seconds=st.floats(0.5, 20),
    warm_up_s=st.floats(0, 5),
    took_s=st.floats(0, 30),
    seed=st.integers(0, 100),
)
def test_an_open_loop_asks_on_time_whatever_the_server_does(
    rate: float, seconds: float, warm_up_s: float, took_s: float, seed: int
) -> None:
    plan = Plan(rate=rate, seconds=seconds, warm_up_s=warm_up_s, seed=seed, deadline_s=60)
    found, order = driven(plan, takes(took_s))
    due = [
        100 + one for one in itertools.takewhile(lambda s: s < warm_up_s + seconds, moments(plan))
    ]
    assert sorted(one.due_s for one in found.asked) == pytest.approx(due)
    assert all(one.sent_s == pytest.approx(one.due_s) for one in found.asked)
    assert order == list(zip(range(len(due)), prompt_order(5, seed), strict=False))
    assert (found.from_s, found.to_s) == pytest.approx((100 + warm_up_s, 100 + warm_up_s + seconds))


@pytest.mark.parametrize("loop", [{"clients": 3}, {"rate": 20.0}])
def test_so_many_requests_are_measured_after_the_warm_up(loop: Any) -> None:
    plan = Plan(requests=17, warm_up_s=2, **loop)
    found, order = driven(plan, takes(0.25))
    assert sum(one.due_s >= found.from_s for one in found.asked) == 17
    assert len(order) > 17
    assert found.to_s == max(one.ended_s for one in found.asked)


def test_who_is_late_sends_and_does_not_pile_up() -> None:
    """Each request takes the time in which a thousand others are due."""
    waiting: list[int] = []

    async def serve(number: int, now_s: float) -> Said:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        loop.now_s += 0.1
        waiting.append(len(asyncio.all_tasks()))
        return ANSWER

    driven(Plan(rate=10_000.0, requests=2000, warm_up_s=0.0), serve)
    assert max(waiting) < 10


def test_a_closed_loop_asks_when_it_is_answered() -> None:
    said = report(Plan(clients=4, seconds=10, warm_up_s=1), takes(0.5))
    assert (said.requests, said.answered) == (80, 80)
    assert said.goodput_per_s == pytest.approx(8, rel=0.06)
    assert said.tokens_per_s == pytest.approx(24, rel=0.06)
    assert said.latency is not None
    assert said.latency.p50 == pytest.approx(0.5, rel=1e-3)
    assert said.sent_late is None


def test_an_open_loop_sees_all_of_a_stall_and_a_closed_loop_once() -> None:
    # Answers take 10 ms, but for a stall of a second every ten.
    async def stalls(number: int, now_s: float) -> Said:
        free_s = 105.0 if 104 <= now_s < 105 else now_s
        await asyncio.sleep(free_s - now_s + 0.01)
        return Said(tokens=1)

    opened = report(Plan(rate=100, arrivals="constant", seconds=10, warm_up_s=0), stalls)
    closed = report(Plan(clients=1, seconds=10, warm_up_s=0), stalls)
    assert opened.latency is not None
    assert closed.latency is not None
    assert opened.latency.p90 == pytest.approx(0.01, rel=0.1)
    assert opened.latency.p99 > 0.8
    assert closed.latency.p99 < 0.02
    assert closed.latency.max > 0.9


def test_what_is_late_or_refused_is_no_goodput() -> None:
    async def serve(number: int, now_s: float) -> Said:
        await asyncio.sleep(0.1 if number % 4 else 3.0)
        return Said("QUEUE_FULL", "full") if number % 4 == 1 else Said(tokens=2)

    plan = Plan(rate=10, arrivals="constant", seconds=20, warm_up_s=0, deadline_s=1)
    said = report(plan, serve)
    assert (said.requests, said.answered, said.deadline_missed) == (200, 150, 50)
    assert [(one.reason, one.count, one.detail) for one in said.refused] == [
        ("QUEUE_FULL", 50, "full")
    ]
    assert said.goodput_per_s == pytest.approx(5, rel=0.05)
    assert said.answers_per_s > said.goodput_per_s
    assert said.refusal is not None
    assert said.refusal.max == pytest.approx(0.1, rel=1e-3)


def test_a_deadline_that_the_server_keeps_is_missed_and_no_refusal() -> None:
    said = report(Plan(clients=1, requests=3, warm_up_s=0), takes(1, Said("DEADLINE_EXCEEDED")))
    assert (said.deadline_missed, said.refused, said.answered, said.latency) == (3, [], 0, None)


def test_tokens_of_a_stream_are_timed_from_when_it_was_due() -> None:
    async def serve(number: int, now_s: float) -> Said:
        pieces = [(now_s + 0.2, 1), (now_s + 0.3, 1), (now_s + 0.7, 4)]
        await asyncio.sleep(0.7)
        return Said(tokens=6, pieces=pieces)

    said = report(Plan(clients=1, requests=5, warm_up_s=0), serve)
    assert said.streamed
    assert said.first_token is not None
    assert said.between_tokens is not None
    assert said.first_token.p99 == pytest.approx(0.2, rel=1e-3)
    assert (said.between_tokens.count, said.first_token.count) == (25, 5)
    assert said.between_tokens.max == pytest.approx(0.1, rel=1e-3)


@given(st.lists(st.floats(1e-6, 3000), min_size=1, max_size=200))
def test_percentiles_are_those_of_the_times_to_three_digits(times: list[float]) -> None:
    found = percentiles(times)
    assert found is not None
    ranked = sorted(times)
    for share, value in ((50, found.p50), (90, found.p90), (99, found.p99)):
        rank = max(1, int(share * len(times) / 100 + 0.5))
        assert value == pytest.approx(ranked[rank - 1], rel=2e-3, abs=2e-6)
    assert found.max == pytest.approx(ranked[-1], rel=2e-3, abs=2e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "clients or rate: give one of them, got 0"),
        ({"clients": 1, "rate": 2.0}, "clients or rate: give one of them, got 2"),
        ({"clients": 0}, "clients: must be in 1..4096, got 0"),
        ({"rate": 0.0}, "rate: must be above 0 and finite, got 0.0"),
        ({"rate": math.nan}, "rate: must be above 0 and finite, got nan"),
        ({"rate": 1e9}, "rate: must be at most 10000, got 1e+09"),
        ({"clients": 1, "requests": 3}, "seconds or requests: give one of them, got 2"),
        ({"clients": 1, "seconds": math.inf}, "seconds: must be above 0 and finite, got inf"),
        ({"clients": 1, "deadline_s": -1.0}, "deadline_s: must be above 0 and finite, got -1.0"),
        ({"clients": 1, "warm_up_s": -1.0}, "warm_up_s: must be at least 0 and finite, got -1.0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(LoadError) as refused:
        Plan(**{"seconds": 1.0, **wrong})
    assert str(refused.value) == says
