"""Profiles as rows, for people and for machines; knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from escalade.simulator.formats import Cell, TextTable, nominal_seconds, percent, seconds
from escalade.simulator.network.described.pings import ping
from escalade.simulator.network.profiles import Cycle, Profile, RateSeries

_NONE = "\N{EN DASH}"

_PINGS = 10_000
_HOUR_S = 3600


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    """One network, in brief."""

    name: str
    #: The median round trip of an empty network.
    rtt_ms: float
    #: How round trips vary: not at all, jitter, a spread's kind or a trace.
    varies: str
    #: None is unlimited; of a trace the mean.
    down_mbps: float | None
    up_mbps: float | None
    #: Share of the packets, each a stall; of bursts the mean.
    loss: float
    #: Share of the time in which nothing passes.
    away: float
    source: str


class RoundTrips(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips of 64 bytes, as many pings found them in virtual time; in milliseconds."""

    pings: int
    p05_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class ProfileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One network, and what it does."""

    profile: ProfileRow
    round_trips: RoundTrips
    #: Whatever else there is, in words.
    notes: list[str]


def row_of(profile: Profile) -> ProfileRow:
    """A profile in brief."""
    varies = "not" if not profile.jitter_ms else "jitter"
    if profile.spread is not None:
        varies = type(profile.spread).__name__.lower()
    elif profile.rtt_trace is not None:
        varies = "trace"
    loss, bursts = profile.loss, profile.bursts
    if bursts is not None:
        loss = bursts.bad * bursts.loss_bad + (1 - bursts.bad) * loss
    return ProfileRow(
        name=profile.name,
        rtt_ms=profile.rtt_ms,
        varies=varies,
        down_mbps=_mbps(profile.down_mbps, profile.down_trace),
        up_mbps=_mbps(profile.up_mbps, profile.up_trace),
        loss=loss,
        away=sum((one.share for one in profile.outages), 0.0),
        source=profile.source,
    )


def report_of(profile: Profile, *, seed: int) -> ProfileReport:
    """A profile, pinged."""
    rtt_ms = 1e3 * ping(profile, _PINGS, seed=seed).rtt_s
    p05, p50, p95, p99 = np.quantile(rtt_ms, (0.05, 0.5, 0.95, 0.99)).tolist()
    found = RoundTrips(
        pings=_PINGS, p05_ms=p05, p50_ms=p50, p95_ms=p95, p99_ms=p99, max_ms=float(rtt_ms.max())
    )
    return ProfileReport(profile=row_of(profile), round_trips=found, notes=list(_notes(profile)))


def profiles_table(profiles: Iterable[Profile]) -> TextTable:
    """A row for each."""
    head = ["network", "RTT", "varies", "down", "up", "loss", "away", "source"]
    return TextTable("", head, [_cells(row_of(profile)) for profile in profiles])


def report_lines(report: ProfileReport) -> list[str]:
    """What `show` says of one."""
    row, found = report.profile, report.round_trips
    times = (found.p05_ms, found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)
    p05, p50, p95, p99, most = (seconds(ms / 1e3) for ms in times)
    _, rtt, varies, down, up, *_ = (cell.text for cell in _cells(row))
    varied = "round trips do not vary" if row.varies == "not" else f"round trips vary: {varies}"
    return [
        f"{row.name}: RTT {rtt} (median), {varied}",
        f"bandwidth: {down} Mb/s down, {up} Mb/s up".replace(f"{_NONE} Mb/s", "unlimited"),
        *report.notes,
        f"{found.pings:,} pings of 64 bytes: p5 {p05}, p50 {p50}, p95 {p95}, p99 {p99},"
        f" longest {most}",
        f"source: {row.source}",
    ]


def _cells(row: ProfileRow) -> list[Cell]:
    return [
        Cell(row.name),
        Cell(nominal_seconds(row.rtt_ms / 1e3)),
        Cell(_NONE if row.varies == "not" else row.varies),
        *(Cell(_NONE if mbps is None else f"{mbps:.4g}") for mbps in (row.down_mbps, row.up_mbps)),
        *(Cell(percent(share) if share else _NONE) for share in (row.loss, row.away)),
        Cell(row.source),
    ]


def _mbps(mbps: float | None, trace: RateSeries | None) -> float | None:
    return mbps if trace is None else trace.mean


def outages_told(profile: Profile) -> Iterator[str]:
    """When nothing passes, in words."""
    for one in profile.outages:
        lasts, every = _span(one.lasts_s), _span(one.every_s)
        by_chance = "" if isinstance(one, Cycle) else " on average, by chance"
        yield f"nothing passes for {lasts} every {every}{by_chance}"


def _span(span_s: float) -> str:
    """Whole hours as such: `8 h` where seconds are read by nobody."""
    hours = span_s / _HOUR_S
    return f"{hours:,.0f} h" if hours >= 1 and hours.is_integer() else nominal_seconds(span_s)


def _notes(profile: Profile) -> Iterator[str]:
    for way, trace in (("down", profile.down_trace), ("up", profile.up_trace)):
        if trace is not None:
            yield (
                f"{way} over time: {min(trace.values):g} to {max(trace.values):g} Mb/s, a trace of"
                f" {nominal_seconds(trace.period_s)} that comes round"
            )
    for outage in outages_told(profile):
        yield f"outage: {outage}"
    for spike in profile.spikes:
        yield (
            f"spike: round trips take {spike.extra_rtt_ms:g} ms longer for"
            f" {nominal_seconds(spike.lasts_s)} every {nominal_seconds(spike.every_s)}"
        )
    if profile.bursts is not None:
        bursts = profile.bursts
        yield (
            f"loss in bursts of {1 / bursts.to_good:.3g} packets on average, {percent(bursts.bad)}"
            f" of the packets, of which {percent(bursts.loss_bad)} are lost; each is a stall"
        )
    elif profile.loss:
        yield f"loss: {percent(profile.loss)} of the packets, each a stall"
    if profile.price_per_gb is not None:
        yield f"price: {profile.price_per_gb:g} for a gigabyte"
    if profile.joules_per_mb is not None:
        yield f"energy: {profile.joules_per_mb:g} J for a megabyte"
    if profile.joules_per_call is not None:
        yield f"energy: {profile.joules_per_call:g} J for a call's radio and its tail"
