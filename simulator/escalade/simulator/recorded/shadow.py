"""Which queries of a trace can be replayed: whole answers of every tier; knows no rule."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from escalade.edge.trace import Trace, TraceRecord, links_of
from escalade.simulator.errors import SimulatorError

#: Twelve days, where the bins of a fleet's latencies end: sums and squares of those stay numbers.
_MOST_S = 1e6
#: A gate, and what it defers to.
_LEAST_TIERS = 2


def answered(name: str, trace: Trace, notes: list[str], *, shortens: bool = True) -> Trace:
    """The queries that every tier answered; notes how many one did not, unless that is all.

    Where the trace of a shorter cascade has more, the note says of which; `shortens`: whether who
    is told can ask for that.

    A log of live queries has answers of the last tier to none but those that were sent on. It still
    serves a sweep of these, which is of the hard ones alone: that is noted too.

    Raises:
        SimulatorError: some answers were stopped, or decided, early.
    """
    check_finished(trace)
    records = [record for record in trace.records if None not in record.tiers]
    if not records or len(records) == len(trace.records):
        return trace
    notes.append(
        f"{name}: {len(trace.records) - len(records)} of {len(trace.records)} queries have no"
        f" answer from {_lacking(trace)} and are left out{_shorter(trace) if shortens else ''}"
    )
    if _is_live(trace):
        notes.append(
            f"{name}: it has no whole record of a query kept below: every sweep is of those sent on"
            " alone, and its calls are too many (`escalade record` asks every tier)"
        )
    return Trace(trace.header, records)


def check_finished(trace: Trace) -> None:
    """Refuse half answers: their scores are bounds, their texts and times are cut.

    Raises:
        SimulatorError: generation was stopped, or a vote was decided, early.
    """
    if stopped := sum(map(_is_half, trace.records)):
        raise SimulatorError(
            f"{stopped} of {len(trace.records)} of the device's answers were not finished (early"
            " deferral, or a vote decided early), and a replay needs whole ones; record them with"
            " `escalade record`"
        )


def check_answered(trace: Trace) -> None:
    """Refuse a trace that some tier has not answered whole.

    Raises:
        SimulatorError: some queries were never put to a tier, some answers are half ones, or took
            a time that is none.
    """
    check_finished(trace)
    for record in trace.records:
        _check_times(record)
    check_serves(trace)
    if lacking := sum(None in record.tiers for record in trace.records):
        raise SimulatorError(
            f"{lacking} of {len(trace.records)} records lack the answer of {_lacking(trace)}, and a"
            " replay needs every tier's answer to every query; record them with `escalade record`"
        )


def _check_times(record: TraceRecord) -> None:
    times_s = [record.total_s]
    for answer in filter(None, record.tiers):
        times_s += [answer.seconds, *(member.seconds for member in answer.members)]
        times_s += [one.drafted_s for one in answer.members if one.drafted_s is not msgspec.UNSET]
        times_s += [hop.seconds for hop in answer.hops]
        for link in links_of(answer):
            times_s += [link.round_trip_s, link.server_s]
    if wrong := [one for one in times_s if not 0 <= one <= _MOST_S]:
        raise SimulatorError(
            f"record {record.id!r}: seconds must be in [0, {_MOST_S:g}]; got {wrong[0]:g}"
        )


def _is_live(trace: Trace) -> bool:
    """Whether whoever a gate kept below was never put to the tiers above; not those degraded.

    Those whole are then of queries that the last tier answered, all of them.
    """
    last = len(trace.header.tiers) - 1
    kept = [one for one in trace.records if one.answered_by < last and one.outcome != "degraded"]
    return bool(kept) and all(None in one.tiers for one in kept)


def check_serves(trace: Trace) -> None:
    """Refuse a trace that has no query which every tier answered; says which sweep it serves.

    Raises:
        SimulatorError: it has none.
    """
    if trace.records and all(None in record.tiers for record in trace.records):
        raise SimulatorError(_what_serves(trace))


def _what_serves(trace: Trace) -> str:
    names = [tier.name for tier in trace.header.tiers]
    silent = [
        f"tier {name!r}"
        for k, name in enumerate(names)
        if all(record.tiers[k] is None for record in trace.records)
    ]
    said = f"no query has an answer from {' or '.join(silent)}"
    if not silent:
        said = f"no query has an answer from each of {_listed(names)}"
    kept = _kept_up_to(trace)
    serves = max((k for k, count in kept.items() if count), default=0)
    if not serves:
        return (
            f"{said}: the trace serves no sweep; record one with `escalade record`, which asks"
            " every tier"
        )
    return (
        f"{said}: the trace serves sweeps of {_listed(names[:serves])} alone{_shorter(trace)} (of"
        " `simulate`, `plan` and `evaluate`)"
    )


def _kept_up_to(trace: Trace) -> dict[int, int]:
    """How many queries the first so many tiers answered, all of them."""
    return {
        k: sum(None not in record.tiers[:k] for record in trace.records)
        for k in range(_LEAST_TIERS, len(trace.header.tiers) + 1)
    }


def _shorter(trace: Trace) -> str:
    """What the cascades that end lower would keep, where that is more."""
    names, kept = [tier.name for tier in trace.header.tiers], _kept_up_to(trace)
    more = [
        f"--up-to {shlex.quote(names[k - 1])} keeps {kept[k]}"
        for k in sorted(kept, reverse=True)[1:]
        if kept[k] > kept[k + 1]
    ]
    return f"; {', '.join(more)} of {len(trace.records)}" if more else ""


def _listed(names: Sequence[str]) -> str:
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last}" if first else last


def _is_half(record: TraceRecord) -> bool:
    return any(tier is not None and tier.stopped_early for tier in record.tiers)


def _lacking(trace: Trace) -> str:
    """The tiers that some query has no answer of."""
    names = [
        f"tier {tier.name!r}"
        for k, tier in enumerate(trace.header.tiers)
        if any(record.tiers[k] is None for record in trace.records)
    ]
    return " or ".join(names)
