"""Token buckets: what they let through, how long they say to wait, and whom they forget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.access.limits import _MOST_CLIENTS, UNLIMITED, Bucket, Limits, Quotas
from escalade.cloud.errors import QuotaExceededError, StartError


def wait_of(quotas: Quotas, owner: str, own: Limits = UNLIMITED) -> float:
    """Seconds that a client is told to wait; 0 where it is let in."""
    try:
        quotas.admit(owner, own)
    except QuotaExceededError as error:
        return error.retry_after_s
    return 0.0


def test_a_minutes_requests_may_come_at_once_and_then_one_after_another(clock: Any) -> None:
    quotas = Quotas(Limits(requests_per_minute=30), clock)
    assert [wait_of(quotas, "a") for _ in range(30)] == [0.0] * 30
    assert wait_of(quotas, "a") == pytest.approx(2.0)
    assert wait_of(quotas, "b") == 0.0
    clock.now_s += 1.0
    assert wait_of(quotas, "a") == pytest.approx(1.0)
    clock.now_s += 1.0
    assert wait_of(quotas, "a") == 0.0
    assert wait_of(quotas, "a") == pytest.approx(2.0)


def test_tokens_are_counted_when_they_are_known_and_owed(clock: Any) -> None:
    quotas = Quotas(Limits(tokens_per_day=86_400), clock)
    quotas.admit("a")
    quotas.charge("a", 86_400 + 99)
    assert wait_of(quotas, "a") == pytest.approx(100.0)
    clock.now_s += 99.5
    assert wait_of(quotas, "a") == pytest.approx(0.5)
    clock.now_s += 0.6
    assert wait_of(quotas, "a") == 0.0


def test_own_limits_come_before_the_servers_one_by_one(clock: Any) -> None:
    quotas = Quotas(Limits(requests_per_minute=1, tokens_per_day=10), clock)
    mine = Limits(requests_per_minute=2)
    assert [wait_of(quotas, "a", mine) > 0 for _ in range(3)] == [False, False, True]
    clock.now_s += 3600
    quotas.charge("a", 20)
    with pytest.raises(QuotaExceededError, match=r"^quota of a: 10 tokens a day; ask again in"):
        quotas.admit("a", mine)


def test_a_refusal_costs_nothing(clock: Any) -> None:
    """Who asks too often is let in as soon as who waits."""
    quotas = Quotas(Limits(requests_per_minute=60), clock)
    for _ in range(60):
        quotas.admit("a")
    for _ in range(1000):
        assert wait_of(quotas, "a") > 0
    clock.now_s += 1.0
    assert wait_of(quotas, "a") == 0.0


def test_without_limits_nobody_is_remembered(clock: Any) -> None:
    quotas = Quotas(Limits(), clock)
    for n in range(100):
        quotas.admit(str(n))
        quotas.charge(str(n), 1 << 60)
        quotas.admit(str(n))
    assert not quotas._accounts


def test_who_asked_longest_ago_is_forgotten(clock: Any) -> None:
    quotas = Quotas(Limits(requests_per_minute=1), clock)
    for n in range(_MOST_CLIENTS + 1):
        quotas.admit(str(n))
    assert len(quotas._accounts) == _MOST_CLIENTS
    assert wait_of(quotas, str(_MOST_CLIENTS)) > 0
    assert wait_of(quotas, "0") == 0.0


@pytest.mark.parametrize("limits", [Limits(0), Limits(None, -1)])
def test_a_limit_lets_somebody_ask(clock: Any, limits: Limits) -> None:
    with pytest.raises(StartError, match="must be at least 1, got"):
        Quotas(limits, clock)


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000)), max_size=50),
)
def test_what_it_says_to_wait_is_what_is_to_be_waited(
    size: int, steps: list[tuple[float, int]]
) -> None:
    bucket, now_s, period_s = Bucket(size, 60.0, 0.0), 0.0, 60.0
    taken = 0
    for passed_s, count in steps:
        now_s += passed_s
        bucket.take(count, now_s)
        taken += count
        wait_s = bucket.wait_s(now_s)
        # Never more than it held at first and what has come since.
        assert wait_s >= (taken + 1 - size - now_s * size / period_s) * period_s / size - 1e-3
        assert bucket.wait_s(now_s + wait_s) == 0.0
        if wait_s > 1e-3:
            assert bucket.wait_s(now_s + wait_s / 2) > 0
