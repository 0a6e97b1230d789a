"""Coins, settings and checkpoints of an audit."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from agreement_streams import agreements
from scipy import stats

from escalade.training.audit import ARL, Audit, AuditState
from escalade.training.errors import AuditError


def run(audit: Audit, items: range, shape: str = "falling", n: int = 2000) -> list[int]:
    """Audit these items of a stream; raises the share where the alarm goes off."""
    agrees = agreements(shape, n, 3).tolist()
    fired = []
    for item in items:
        audit.record(agrees[item] if audit.wants(item) else None)
        if audit.alarm:
            fired.append(item)
            audit.share = 1.0
    return fired


def test_a_coin_is_the_querys_own() -> None:
    audit = Audit(0.3, seed=5)
    tossed = [audit.wants(item) for item in range(200)]
    assert tossed == [Audit(0.3, seed=5).wants(item) for item in range(200)]
    assert tossed != [Audit(0.3, seed=6).wants(item) for item in range(200)]
    assert audit.interval().high == 1.0, "to ask changes nothing"


def test_so_many_are_audited_as_the_share_says() -> None:
    audit = Audit(0.1)
    wanted = sum(audit.wants(item) for item in range(5000))
    assert stats.binomtest(wanted, 5000, 0.1).pvalue > 0.01


def test_a_higher_share_audits_what_a_lower_one_would_and_more() -> None:
    low, high = Audit(0.1), Audit(0.1)
    high.share = 0.5
    tossed = [(low.wants(item), high.wants(item)) for item in range(500)]
    assert not any(one and not other for one, other in tossed)
    assert sum(other for _, other in tossed) > 2 * sum(one for one, _ in tossed)


@pytest.mark.parametrize("cut", [0, 1, 700, 1400, 1999])
def test_a_restored_audit_goes_on_bit_for_bit(cut: int) -> None:
    whole = Audit(0.2, seed=4)
    run(whole, range(2000))
    first = Audit(0.2, seed=4)
    run(first, range(cut))
    written = msgspec.json.encode(first.state())
    run(first, range(cut, cut + 1))  # what comes after the checkpoint does not change it
    second = Audit.restored(msgspec.json.decode(written, type=AuditState))
    run(second, range(cut, 2000))
    assert msgspec.json.encode(second.state()) == msgspec.json.encode(whole.state())
    assert second.interval() == whole.interval()


def test_a_fall_sets_the_alarm_off_and_the_share_may_be_raised() -> None:
    audit = Audit(0.2, seed=4)
    fired = run(audit, range(2000))
    assert len(fired) == audit.alarms == 1
    assert 1000 <= fired[0] < 2000
    assert audit.audited > 0.2 * 1000 + 0.9 * (2000 - fired[0])
    truth = float(np.mean(agreements("falling", 2000, 3)))
    found = audit.interval()
    assert found.low <= truth <= found.high


def test_a_query_that_is_not_audited_says_nothing() -> None:
    audit = Audit(0.2)
    for _ in range(100):
        audit.record(None)
    found = audit.interval()
    assert (found.estimate, found.high, audit.audited) == (None, 1.0, 0)
    assert found.low < 1.0


def test_an_audit_without_an_answer_widens_the_interval_and_sets_nothing_off() -> None:
    lost, unaudited = Audit(0.5), Audit(0.5)
    for item in range(400):
        wanted, down = lost.wants(item), item >= 200
        if wanted and down:
            lost.lose()
        else:
            lost.record(True if wanted else None)
        unaudited.record(True if wanted and not down else None)
    assert (lost.alarms, lost.audited) == (0, unaudited.audited)
    assert lost.interval().low < unaudited.interval().low - 0.2
    assert lost.interval().high == 1.0
    again = Audit.restored(lost.state())
    assert again.interval() == lost.interval()


def promised(p: float, seed: int, queries: int, *, kept: float = 0.5) -> list[int]:
    """When the alarm for a promise of 0.8 goes off; p: that a query is deferred or agrees."""
    audit, fired = Audit(0.2, promised=0.8), []
    draw = np.random.default_rng([31, seed])
    for query in range(queries):
        if draw.random() >= kept:
            audit.defer()
        else:
            audit.record(bool(draw.random() >= (1.0 - p) / kept))
        if audit.alarm:
            fired.append(query)
    assert len(fired) == audit.alarms
    return fired


def test_a_promise_of_all_queries_is_watched_and_not_what_agreement_has_been() -> None:
    # From 1 to 0.83 is a fall, and keeps the promise.
    audit = Audit(0.2, promised=0.8)
    for agrees in [True] * 400 + [n % 6 > 0 for n in range(400)]:
        audit.record(agrees)
    assert audit.alarms == 0
    broken = [promised(0.6, seed, 200) for seed in range(20)]
    assert np.median([fired[0] if fired else np.inf for fired in broken]) < 80


def test_the_average_run_length_holds_where_the_promise_is_just_kept() -> None:
    fired = sum(len(promised(0.8, seed, 300)) for seed in range(30))
    assert fired <= 30 * 300 / ARL


def test_a_restored_audit_of_a_promise_goes_on() -> None:
    audit = Audit(0.2, promised=0.8)
    for agrees in (True, False, False):
        audit.record(agrees)
    again = Audit.restored(msgspec.json.decode(msgspec.json.encode(audit.state()), type=AuditState))
    for one in (audit, again):
        one.defer()
        while not one.alarm:
            one.record(False)
    assert again.state() == audit.state()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"share": 0.0}, r"audit: share must be in \(0, 1\], got 0\.0"),
        ({"share": 1.5}, r"audit: share must be in \(0, 1\], got 1\.5"),
        ({"share": float("nan")}, r"share must be in \(0, 1\], got nan"),
        ({"share": 0.1, "alpha": 0.0}, r"alpha must be in \(0, 1\), got 0\.0"),
        ({"share": 0.1, "arl": 1.0}, r"arl must be > 1 and finite, got 1\.0"),
        ({"share": 0.1, "seed": -1}, "seed must be at least 0, got -1"),
        ({"share": 0.1, "promised": 1.0}, r"promised must be in \(0, 1\), got 1\.0"),
    ],
)
def test_settings_out_of_range_are_refused(given: dict[str, float], says: str) -> None:
    with pytest.raises(AuditError, match=says):
        Audit(**given)  # type: ignore[arg-type] # what a configuration may hold


@pytest.mark.parametrize("share", [0.05, 1.01, float("nan")])
def test_the_share_is_never_lower_than_at_first(share: float) -> None:
    audit = Audit(0.1)
    with pytest.raises(AuditError, match=r"share must be in \[0\.1, 1\], got"):
        audit.share = share
    assert audit.share == 0.1
