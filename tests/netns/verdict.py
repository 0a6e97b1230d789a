"""Holds what the kernel's network did against what its profile asks for; runs nothing.

The machine is one process of a machine that may be busy: tolerances are for that, and what a quiet
one gives stands in docs/networks.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from measure import LOSING, VARYING, Found
from rich.table import Table

from escalade.cli.output import result_console
from escalade.simulator.network import Profile, ping

# Of a packet of an Ethernet frame what TCP carries: 1500 less 40 (IP, TCP) less 12 (timestamps).
FRAME, PAYLOAD = 1514, 1448
#: How late a call that nothing held up may be: what a timer and two more queues take.
_LATE_S = 2e-3
#: A tenth of the calls is held up by nothing, on a busy machine too.
_UNDISTURBED = 0.1
_BANDWIDTH = 0.05
#: Of quantiles of a hundred calls that vary.
_QUANTILE = 0.2
_SIGMAS = 4
_SMALL_BYTES = 116 + 66  # a call of `bulk.py` one way, at most: a head, 100 bytes, headers


class Row(msgspec.Struct, kw_only=True):
    """One network: asked, by the kernel, by the proxy. Seconds, Mb/s."""

    profile: str
    asked_s: float
    #: By the kernel's and by the proxy: what a tenth of the calls takes at most, and half of them.
    kernel_s: tuple[float, float]
    proxy_s: tuple[float, float]
    #: A dial and its first call.
    kernel_first_s: float
    proxy_first_s: float
    asked_mbps: tuple[float | None, float | None]
    kernel_mbps: tuple[float | None, float | None]
    proxy_mbps: tuple[float | None, float | None]


def rows_of(found: Sequence[Found], known: dict[str, Profile]) -> list[Row]:
    """The networks whose round trips and bandwidth both drivers had."""
    by = {(one.driver, one.profile): one for one in found}
    rows = []
    for name in dict.fromkeys(one.profile for one in found if one.driver == "proxy"):
        kernel, proxy, profile = by["kernel", name], by["proxy", name], known[name]
        rows.append(
            Row(
                profile=name,
                asked_s=profile.rtt_ms / 1e3,
                kernel_s=_quantiles(kernel),
                proxy_s=_quantiles(proxy),
                kernel_first_s=kernel.connect_s + kernel.calls_s[0],
                proxy_first_s=proxy.connect_s + proxy.calls_s[0],
                asked_mbps=(profile.up_mbps, profile.down_mbps),
                kernel_mbps=(kernel.up_mbps, kernel.down_mbps),
                proxy_mbps=(proxy.up_mbps, proxy.down_mbps),
            )
        )
    return rows


def failures_of(found: Sequence[Found], known: dict[str, Profile]) -> list[str]:
    """What is not as it should be, each with its place."""
    kernel = {one.profile: one for one in found if one.driver == "kernel"}
    free_s, _ = _quantiles(kernel["free"])
    failures = []
    for name, one in kernel.items():
        if name in LOSING:
            said = _losing(one, known[name])
        elif name in VARYING:
            said = _varying(one, known[name])
        else:
            said = _steady(one, known[name], free_s)
        failures += [f"{name}: {each}" for each in said]
    return failures


def _steady(one: Found, profile: Profile, free_s: float) -> Iterator[str]:
    rtt_s, rests = profile.rtt_ms / 1e3, one.calls_s[1:]
    if profile.jitter_ms:
        yield from _as_pinged(one, profile)
    else:
        if min(rests) < rtt_s:
            yield f"a call of {1e3 * min(rests):.2f} ms is early"
        bits = 8 * _SMALL_BYTES / 1e6
        sent_s = sum(bits / mbps for mbps in (profile.up_mbps, profile.down_mbps) if mbps)
        late_s = _quantiles(one)[0] - rtt_s - free_s - sent_s
        if not late_s <= _LATE_S:
            yield f"calls are {1e3 * late_s:.2f} ms late"
    for way, asked, got in (
        ("up", profile.up_mbps, one.up_mbps),
        ("down", profile.down_mbps, one.down_mbps),
    ):
        if asked is None:
            continue
        share = math.nan if got is None else got / (asked * PAYLOAD / FRAME)
        # TCP takes a packet that jitter holds up for a full queue: less than all is to be had.
        least = 0.5 if profile.jitter_ms else 1 - _BANDWIDTH
        if not least <= share <= 1 + _BANDWIDTH:
            yield f"{share:.3f} of the bandwidth {way}"


def _varying(one: Found, profile: Profile) -> Iterator[str]:
    calls = np.array(one.calls_s[1:])
    if profile.rtt_trace is not None:
        near = np.array([np.abs(calls - ms / 1e3) < 0.01 for ms in (20, 120)])
        if not near.any(0).mean() > 0.85:
            yield f"{near.any(0).mean():.0%} of the calls are of either round trip"
        long_s = calls[near[1]].sum() / calls.sum()
        if not 0.3 <= long_s <= 0.7:
            yield f"{long_s:.0%} of the time has the longer round trip, not half"
    elif profile.outages:
        (outage,) = profile.outages
        away = [(at_s, took_s) for at_s, took_s in zip(one.at_s, one.calls_s, strict=True)
                if took_s > outage.lasts_s / 2]  # fmt: skip
        due = sum(one.calls_s) / outage.every_s
        if not due - 1.5 <= len(away) <= due + 1.5:
            yield f"{len(away)} outages, not {due:.1f}"
        for (before_s, _), (at_s, _) in pairwise(away):
            if not abs(at_s - before_s - outage.every_s) < outage.lasts_s:
                yield f"an outage {at_s - before_s:.1f} s after another, not {outage.every_s:g}"
    else:
        yield from _as_pinged(one, profile)


def _as_pinged(one: Found, profile: Profile) -> Iterator[str]:
    """Quantiles against those that virtual time has."""
    due = np.quantile(ping(profile, 10_000, seed=1).rtt_s, (0.5, 0.8))
    got = np.quantile(one.calls_s[1:], (0.5, 0.8))
    for name, asked_s, got_s in zip(("p50", "p80"), due, got, strict=True):
        if not abs(got_s - asked_s) <= _QUANTILE * asked_s + _LATE_S:
            yield f"{name} {1e3 * got_s:.1f} ms, not {1e3 * asked_s:.1f}"


def _losing(one: Found, profile: Profile) -> Iterator[str]:
    sent, bursts = one.packets + one.dropped, profile.bursts
    loss, width = profile.loss, 1.0
    if bursts is not None:
        loss = bursts.bad * bursts.loss_bad + (1 - bursts.bad) * loss
        # Packets of one burst fall together: as many fewer are drawn.
        width = math.sqrt(2 / bursts.to_good)
    sigma = math.sqrt(loss * (1 - loss) / sent)
    if not abs(one.dropped / sent - loss) <= _SIGMAS * width * sigma:
        yield f"{one.dropped} of {sent} packets lost, not {loss:.2%}"
    # A packet of 64 KB, as TCP hands it over, would be lost whole.
    if not one.nbytes / one.packets <= FRAME:
        yield f"packets of {one.nbytes / one.packets:.0f} bytes"


def show(rows: Sequence[Row], found: Sequence[Found]) -> None:
    """For people."""
    table = Table(
        "network", "asked, RTT", "kernel, p10", "p50", "proxy, p10", "p50", "ratio of p10",
        "dial and call: kernel", "proxy", "up: asked", "kernel", "proxy", "down: asked", "kernel",
        "proxy",
    )  # fmt: skip
    for row in rows:
        bandwidths = [
            each[way]
            for way in (0, 1)
            for each in (row.asked_mbps, row.kernel_mbps, row.proxy_mbps)
        ]
        table.add_row(
            row.profile, _ms(row.asked_s), *map(_ms, (*row.kernel_s, *row.proxy_s)),
            f"{row.kernel_s[0] / row.proxy_s[0]:.3f}",
            *map(_ms, (row.kernel_first_s, row.proxy_first_s)),
            *("" if mbps is None else f"{mbps:.3g}" for mbps in bandwidths),
        )  # fmt: skip
    console = result_console()
    console.print(table, soft_wrap=False)
    for one in found:
        if one.profile in LOSING:
            sent = one.packets + one.dropped
            console.print(
                f"{one.profile}: {one.dropped} of {sent} packets lost, {one.dropped / sent:.2%};"
                f" {one.nbytes / one.packets:.0f} bytes a packet"
            )
        elif one.profile in VARYING:
            p05, p50, p95 = (_ms(each) for each in np.quantile(one.calls_s[1:], (0.05, 0.5, 0.95)))
            console.print(
                f"{one.profile}: {len(one.calls_s)} calls, p5 {p05}, p50 {p50}, p95 {p95},"
                f" longest {_ms(max(one.calls_s))}"
            )


def _quantiles(one: Found) -> tuple[float, float]:
    """Of calls over an open connection: behind the proxy the first one waits for its handshake."""
    low, p50 = np.quantile(one.calls_s[1:], (_UNDISTURBED, 0.5)).tolist()
    return low, p50


def _ms(value_s: float) -> str:
    return f"{1e3 * value_s:.2f} ms"
