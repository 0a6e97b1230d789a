"""A network as tc's arguments: one netem for each way, on the end that sends; runs nothing.

With a rate netem lets no packet overtake another, whatever each one's delay (`netem_enqueue` in
Linux's net/sched/sch_netem.c counts from the last packet's time): an unlimited link has the most
that a profile may say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from escalade.simulator.errors import KernelError
from escalade.simulator.network.kernel.moments import Moment, Moments, varies
from escalade.simulator.network.kernel.namespaces import Side
from escalade.simulator.network.profiles import Profile

Way = Literal["up", "down"]

#: The end that sends, by the way; its link is called by it.
ENDS: dict[Way, Side] = {"up": "device", "down": "cloud"}
#: What a file of delays for jitter is called.
EXPONENTIAL = "exponential"

_UNLIMITED = "1tbit"
#: Packets that wait beside those on their way, before one is dropped: netem's own limit, and the
#: queue of an Ethernet link in Linux.
_QUEUE = 1000
#: Where no rate says how many are on their way; TCP's own windows are smaller (tcp_rmem: 6 MB).
_MOST_PACKETS = 100_000
_FRAME = 1514  # bytes of a full Ethernet frame
#: linux/pkt_sched.h: NETEM_DIST_SCALE, what a deviation of one is in a table of delays.
_SCALE = 8192
_ROWS = 4096  # as of iproute2's own tables
#: Numbers of a table are 16 bits, four deviations: an exponential's 9 times the mean do not fit.
_WIDTH = 3
#: sch_netem.c: a jitter is at most INT_MAX nanoseconds.
_MOST_JITTER_MS = (2**31 - 1) / 1e6 / _WIDTH
#: sch_netem.c: TCA_NETEM_PRNG_SEED has 64 bits, and each way has a seed of its own.
_MOST_SEED = 2**63 - 1


def check_shapeable(profile: Profile, seed: int | None) -> None:
    """Refuse what netem cannot do.

    Raises:
        KernelError: the jitter, or the seed, is larger than netem's may be.
    """
    if seed is not None and not 0 <= seed <= _MOST_SEED:
        raise KernelError(f"seed must be in [0, {_MOST_SEED}] for netem; got {seed}")
    if not profile.jitter_ms <= _MOST_JITTER_MS:
        raise KernelError(
            f"profile {profile.name!r}: jitter_ms must be at most {_MOST_JITTER_MS:.0f} for"
            f" netem; got {profile.jitter_ms:g}"
        )


def qdisc(verb: str, profile: Profile, way: Way, now: Moment, seed: int | None) -> str:
    """What tc is told of one way: `verb` is `add` or `change`; the rest is `netem`'s."""
    return f"qdisc {verb} dev {ENDS[way]} root {' '.join(netem(profile, way, now, seed))}"


def netem(profile: Profile, way: Way, now: Moment, seed: int | None = None) -> list[str]:
    """The arguments of one way's netem, from its name on.

    Args:
        profile: the network.
        way: which.
        now: what it is at the moment.
        seed: of jitter and loss, where netem takes one; None lets it draw its own.
    """
    mbps = now.up_mbps if way == "up" else now.down_mbps
    delay_ms, jitter_ms = now.delay_ms, profile.jitter_ms
    words = ["netem", "limit", str(_limit(mbps, delay_ms + _WIDTH * jitter_ms))]
    words += ["delay", _ms(delay_ms + jitter_ms)]
    if jitter_ms:
        words += [_ms(_WIDTH * jitter_ms), "distribution", EXPONENTIAL]
    words += _loss(profile, mbps)
    words += ["rate", _UNLIMITED if not mbps else f"{round(mbps * 1e6)}bit"]
    if seed is not None:
        words += ["seed", str(2 * seed + (way == "up"))]
    return words


def exponential_table() -> Iterator[str]:
    """Lines of a file for `distribution`: an exponential's quantiles, less its mean, scaled."""
    for row in range(_ROWS):
        quantile = -math.log1p(-(row + 0.5) / _ROWS)
        yield f"{round(_SCALE * (quantile - 1) / _WIDTH)}\n"


def shaping_lines(profile: Profile, *, seed: int | None) -> list[str]:
    """The commands that shape both ways, and what is left out or followed, for people.

    Raises:
        KernelError: netem cannot do it.
    """
    check_shapeable(profile, seed)
    now = Moments(profile, seed or 0).at(0.0)
    lines = [f"{end}: tc {qdisc('add', profile, way, now, seed)}" for way, end in ENDS.items()]
    if varies(profile):
        lines.append("changed by tc qdisc change while it runs, in steps of 10 ms")
    if profile.loss or profile.bursts is not None:
        lines.append("loss: of real packets, which TCP sends again; the proxy's are stalls")
    return lines


def _limit(mbps: float | None, delay_ms: float) -> int:
    if not mbps:
        return _MOST_PACKETS
    return min(_MOST_PACKETS, _QUEUE + math.ceil(mbps * 1e3 / 8 * delay_ms / _FRAME))


def _loss(profile: Profile, mbps: float | None) -> list[str]:
    if mbps == 0:
        return ["loss", "random", "100%"]
    if profile.bursts is not None:
        bursts = profile.bursts
        shares = (bursts.to_bad, bursts.to_good, bursts.loss_bad, profile.loss)
        return ["loss", "gemodel", *map(_percent, shares)]
    return ["loss", "random", _percent(profile.loss)] if profile.loss else []


def _ms(value_ms: float) -> str:
    """As tc reads it: netem's times are nanoseconds."""
    return f"{value_ms:.6f}".rstrip("0").rstrip(".") + "ms"


def _percent(share: float) -> str:
    return f"{100 * share:.8f}".rstrip("0").rstrip(".") + "%"
