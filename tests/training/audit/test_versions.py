"""Versions held against each other: what is counted, and when one is called worse."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import small_traces
from small_traces import cloud, device, header, tier_answer

from escalade.edge.artifact import Manifest, load_manifest, program_digest
from escalade.edge.trace import (
    Outcome,
    Trace,
    TraceRecord,
)
from escalade.training.audit.versions import (
    VersionCounts,
    compare_versions,
    count_version,
)

TAU = 0.5


@pytest.fixture(scope="module")
def manifest(int8_artifact: Path) -> Manifest:
    found = load_manifest(int8_artifact)
    deferral = msgspec.structs.replace(found.deferral, threshold=TAU)
    return msgspec.structs.replace(found, deferral=deferral)


def record(device_says: str, expert: str | None, answered_by: int, outcome: Outcome) -> TraceRecord:
    above = None if expert is None else tier_answer(expert)
    return small_traces.record(
        "q", tier_answer(device_says), above, answered_by=answered_by, outcome=outcome
    )


def trace(manifest: Manifest, records: list[TraceRecord], threshold: float = TAU) -> Trace:
    return Trace(header(device(threshold, program=program_digest(manifest)), cloud()), records)


def test_kept_audited_and_agreed_are_counted_and_what_degraded_is_not(manifest: Manifest) -> None:
    records = [
        record("a", None, 0, "answered"),
        record("a", "a", 0, "answered"),
        record("a", "b", 0, "answered"),
        record("a", "b", 1, "deferred"),
        record("a", None, 0, "degraded"),
    ]
    found = count_version([trace(manifest, records), trace(manifest, records[:1])], manifest)
    assert found == VersionCounts(queries=5, kept=4, audited=2, agreed=1)


def test_traces_of_another_program_or_threshold_are_of_no_version(manifest: Manifest) -> None:
    records = [record("a", "a", 0, "answered")]
    model = msgspec.structs.replace(manifest.model, name="another")
    another = msgspec.structs.replace(manifest, model=model)
    traces = [trace(another, records), trace(manifest, records, threshold=0.6)]
    assert count_version(traces, manifest) == VersionCounts()


def counts(kept: float, agreement: float, queries: int, share: float = 0.3) -> VersionCounts:
    audited = round(kept * queries * share)
    return VersionCounts(
        queries=queries,
        kept=round(kept * queries),
        audited=audited,
        agreed=round(audited * agreement),
    )


def test_a_worse_version_is_called_so_once_there_is_evidence() -> None:
    good, bad = counts(0.5, 0.95, 4000), counts(0.5, 0.75, 4000)
    assert compare_versions(bad, good).worse
    assert not compare_versions(good, bad).worse
    assert not compare_versions(counts(0.5, 0.75, 40), good).worse
    assert not compare_versions(bad, VersionCounts()).worse


def test_one_that_keeps_more_at_the_same_quality_is_not_worse() -> None:
    # 5 % of all answers disagree under both, 10 % of the kept ones before and 6.25 % now.
    before, now = counts(0.5, 0.9, 20_000), counts(0.8, 0.9375, 20_000)
    found = compare_versions(now, before)
    assert not found.worse
    assert found.current.estimate == pytest.approx(0.95, abs=1e-3)
    assert found.before.estimate == pytest.approx(0.95, abs=1e-3)


def test_a_version_that_is_equal_is_seldom_called_worse_however_often_one_looks() -> None:
    called = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        kept, agrees = draw.random((2, 3000)) < 0.6, draw.random((2, 3000)) < 0.85
        for n in range(300, 3001, 300):
            both = [
                VersionCounts(
                    queries=n,
                    kept=int(kept[v, :n].sum()),
                    audited=int(kept[v, :n].sum()),
                    agreed=int((kept[v, :n] & agrees[v, :n]).sum()),
                )
                for v in (0, 1)
            ]
            if compare_versions(*both).worse:
                called += 1
                break
    assert called <= 5
