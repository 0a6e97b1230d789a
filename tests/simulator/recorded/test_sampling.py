"""A long trace in bounded memory: fair, in order, whole where it is short, and said."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from escalade.edge.errors import DataError
from escalade.edge.trace import TierAnswer, Trace, read_trace, write_trace
from escalade.simulator.curves import deferral_curve
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded.sampling import (
    Sample,
    SharedSample,
    read_sample,
    read_shared_sample,
)

QUERIES = 12


@pytest.fixture
def written(make_trace: Callable[..., Trace], tmp_path: Path) -> Path:
    trace = make_trace([k / 100 for k in range(QUERIES)], [True] * QUERIES, [True] * QUERIES)
    path = tmp_path / "long.jsonl"
    write_trace(path, trace.header, trace.records)
    return path


def test_a_short_trace_is_whole_and_nothing_is_noted(written: Path) -> None:
    notes: list[str] = []
    assert len(read_sample(written, QUERIES, 1, notes).records) == QUERIES
    assert notes == []


def test_of_a_long_one_some_are_kept_in_their_order_the_same_by_seed(written: Path) -> None:
    notes: list[str] = []
    whole = read_sample(written, QUERIES, 1, []).records
    kept = read_sample(written, 5, 1, notes).records
    places = [whole.index(one) for one in kept]
    assert places == sorted(set(places))
    assert len(places) == 5
    assert notes == ["long.jsonl: 5 of 12 queries, drawn with seed 1"]
    assert read_sample(written, 5, 1, []).records == kept
    assert read_sample(written, 5, 2, []).records != kept


def test_every_record_is_as_likely_as_another(make_trace: Callable[..., Trace]) -> None:
    records = make_trace([0.0] * 6, [True] * 6, [True] * 6).records
    times = Counter(id(one) for seed in range(3000) for one in Sample(2, seed)(records))
    # Each in 1 of 3: 1,000 times, give or take five standard deviations of 26.
    assert all(abs(times[id(one)] - 1000) < 130 for one in records)


def test_what_is_not_kept_is_checked_all_the_same(written: Path) -> None:
    with written.open("a") as stream:
        stream.write("{}\n")
    with pytest.raises(DataError, match=f":{QUERIES + 2}: not a valid"):
        read_sample(written, 1, 1, [])


def test_a_last_line_that_is_cut_off_is_left_out_and_said(written: Path) -> None:
    whole = written.read_bytes()
    for length, said in ((len(whole) - 9, True), (len(whole) - 1, False), (len(whole), False)):
        written.write_bytes(whole[:length])
        notes: list[str] = []
        records = read_sample(written, QUERIES, 1, notes).records
        assert len(records) == QUERIES - said
        assert notes == ["long.jsonl: its last line, 13, is cut off and is left out"] * said


def test_a_sample_of_nothing_is_refused(written: Path) -> None:
    with pytest.raises(SimulatorError, match="at least 1 query; got 0"):
        read_sample(written, 0, 1, [])


def untimed(trace: Trace) -> Trace:
    """As `escalade trace` writes it: no seconds, no links."""

    def without(said: TierAnswer | None) -> TierAnswer | None:
        if said is None:
            return None
        members = [replace(one, seconds=0.0) for one in said.members]
        return replace(said, members=members, seconds=0.0, link=None)

    records = [replace(one, tiers=list(map(without, one.tiers))) for one in trace.records]
    return trace._replace(records=records)


def test_a_trace_without_times_is_not_replayed(written: Path) -> None:
    trace = untimed(read_trace(written))
    write_trace(written, trace.header, trace.records)
    with pytest.raises(SimulatorError, match=r"long\.jsonl: no answer .* of `escalade record`"):
        read_sample(written, QUERIES, 1, [])


@pytest.mark.parametrize("cost", ["seconds", "bytes"])
def test_a_cost_that_nobody_has_spent_is_no_axis(written: Path, cost: str) -> None:
    trace = read_trace(written)
    assert deferral_curve(trace, cost=cost).cost.max() > 0
    with pytest.raises(SimulatorError, match=f"cost '{cost}': nobody in the trace has spent any"):
        deferral_curve(untimed(trace), cost=cost)


def test_of_traces_that_are_paired_the_same_queries_are_kept(written: Path, tmp_path: Path) -> None:
    trace = read_trace(written)
    other = tmp_path / "other.jsonl"
    write_trace(other, trace.header, reversed(trace.records))
    notes: list[str] = []
    one, another = (read_shared_sample(path, 5, 1, notes) for path in (written, other))
    ids = [record.id for record in one.records]
    assert ids == [record.id for record in reversed(another.records)]
    assert len(set(ids)) == 5
    said = "5 of 12 queries, drawn by their ids with seed 1"
    assert notes == [f"long.jsonl: {said}", f"other.jsonl: {said}"]
    # In the trace's order, others by another seed, and all where there is room.
    assert ids == [record.id for record in trace.records if record.id in ids]
    assert read_shared_sample(written, 5, 2, []).records != one.records
    assert read_shared_sample(written, QUERIES, 1, []).records == trace.records
    with pytest.raises(SimulatorError, match="at least 1 query; got 0"):
        read_shared_sample(written, 0, 1, [])


def test_ids_are_drawn_alike(make_trace: Callable[..., Trace]) -> None:
    records = make_trace([0.0] * 6, [True] * 6, [True] * 6).records
    times = Counter(one.id for seed in range(3000) for one in SharedSample(2, seed)(records))
    # As above.
    assert all(abs(times[one.id] - 1000) < 130 for one in records)


@pytest.mark.parametrize("read", [read_sample, read_shared_sample])
def test_memory_grows_with_what_is_kept_and_not_with_the_trace(
    written: Path, tmp_path: Path, read: Callable[[Path, int, int, list[str]], Trace]
) -> None:
    trace = read_trace(written)

    def peak_bytes(times: int) -> int:
        path = tmp_path / f"{times}.jsonl"
        rows = (replace(one, id=f"{one.id} {k}") for k in range(times) for one in trace.records)
        write_trace(path, trace.header, rows)
        tracemalloc.start()
        try:
            read(path, 100, 1, [])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    read(written, 100, 1, [])  # what is loaded once is loaded
    short, long = peak_bytes(20), peak_bytes(200)
    # Of each of 2,160 rows more, not a tenth of what one takes on disk.
    assert long - short < 2160 * 20


def test_a_reader_is_told_how_far_it_is(written: Path) -> None:
    told: list[tuple[int, int]] = []
    read_sample(written, 5, 1, [], lambda done, total: told.append((done, total)))
    assert told[-1] == (written.stat().st_size, written.stat().st_size)
