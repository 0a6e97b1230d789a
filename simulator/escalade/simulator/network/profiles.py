"""Named networks, each with its source; knows no clock, no socket, no trace.

Units: round-trip times and jitter in milliseconds, bandwidth in megabits (1e6 bits) a
second, loss as a probability for each packet. Sources give a median, a table line or a
range; where a range was given the middle is taken, and `source` says so; where one
bandwidth was given it holds both ways.
"""

from __future__ import annotations

import math

import msgspec

from escalade.simulator.errors import ProfileError, unknown

#: Half the median of the sum of two unit exponentials (gamma(2, 1): 1.678347), so that a
#: round trip, which crosses two jittered directions, has its median at `rtt_ms`.
HALF_GAMMA2_MEDIAN = 1.678347 / 2


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One network between a device and the cloud, the same in both directions but for bandwidth.

    The one-way delay of a chunk is `floor_ms + X`, X exponential with mean `jitter_ms`:
    a propagation time plus a queue. The floor lies below half the RTT by just as much as
    puts the median of an unloaded round trip at `rtt_ms`; without jitter it is half the RTT.

    Attributes:
        name: what `--profile` takes.
        rtt_ms: median round-trip time of an empty network, >= 0.
        jitter_ms: standard deviation of the one-way delay, >= 0 and small enough that
            the floor is not negative.
        down_mbps: cloud to device, > 0; None is unlimited.
        up_mbps: device to cloud, > 0; None is unlimited.
        loss: probability that a packet is lost, in [0, 1). A stream cannot lose bytes, so
            a loss shows as a stall of one retransmission timeout (see `delay_line`).
        source: where the numbers come from.
    """

    name: str
    rtt_ms: float
    jitter_ms: float = 0.0
    down_mbps: float | None
    up_mbps: float | None
    loss: float = 0.0
    source: str

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ProfileError: names the profile, the field, its range and its value.
        """
        self._check("rtt_ms", self.rtt_ms, "0 <= rtt_ms < inf", 0 <= self.rtt_ms < math.inf)
        self._check("loss", self.loss, "0 <= loss < 1", 0 <= self.loss < 1)
        most = self.rtt_ms / 2 / HALF_GAMMA2_MEDIAN
        allowed = f"0 <= jitter_ms <= {most:g} for an rtt_ms of {self.rtt_ms:g}"
        self._check("jitter_ms", self.jitter_ms, allowed, 0 <= self.jitter_ms <= most)
        for field, mbps in (("down_mbps", self.down_mbps), ("up_mbps", self.up_mbps)):
            allowed = f"0 < {field} < inf, or None for unlimited"
            self._check(field, mbps, allowed, mbps is None or 0 < mbps < math.inf)

    @property
    def floor_ms(self) -> float:
        """The least one-way delay, in milliseconds: `rtt_ms / 2` where there is no jitter."""
        return max(0.0, self.rtt_ms / 2 - HALF_GAMMA2_MEDIAN * self.jitter_ms)

    def _check(self, field: str, value: float | None, allowed: str, good: bool) -> None:
        if not good:
            raise ProfileError(f"profile {self.name!r}: {field} must be {allowed}; got {value}")


_COE = (
    "Revisiting Cascaded Ensembles, section 4.2: the delay between two tiers,"
    " taken as the round trip"
)
_WPT = "WebPageTest connectivity.ini"


def _profile(
    name: str,
    rtt_ms: float,
    down_mbps: float | None,
    up_mbps: float | None,
    source: str,
    *,
    jitter_ms: float = 0.0,
    loss: float = 0.0,
) -> Profile:
    return Profile(
        name=name,
        rtt_ms=rtt_ms,
        jitter_ms=jitter_ms,
        down_mbps=down_mbps,
        up_mbps=up_mbps,
        loss=loss,
        source=source,
    )


#: Every named profile. Columns: name, RTT in ms, down and up in Mb/s, source.
PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        _profile("free", 0, None, None, "no network: the papers' deferral curves"),
        _profile("coe-1us", 0.001, None, None, _COE),
        _profile("coe-10ms", 10, None, None, _COE),
        _profile("coe-100ms", 100, None, None, _COE),
        _profile("coe-1s", 1000, None, None, _COE),
        _profile("lan", 0.35, 1000, 1000, "assumption: the middle of 0.2-0.5 ms"),
        _profile("fios", 4, 20, 5, _WPT),
        _profile("cable", 28, 5, 1, _WPT),
        _profile("dsl", 50, 1.5, 0.384, _WPT),
        _profile("wifi-good", 40, 30, 30, "comcast README", loss=0.002),
        _profile("5g", 47, 266, 14.6, "Ookla 1H2024, T-Mobile US, medians"),
        _profile("lte", 70, 12, 12, _WPT),
        _profile("4g-fast", 40, 10.24, 10.24, _WPT),
        _profile("4g", 170, 9, 9, _WPT),
        _profile("slow-4g", 150, 1.6, 0.75, "Lighthouse constants, mobileSlow4G"),
        _profile("3g", 300, 1.6, 0.768, _WPT),
        _profile("3g-slow", 400, 0.4, 0.4, _WPT),
        _profile("edge", 840, 0.24, 0.2, _WPT),
        _profile(
            "leo",
            50,
            87,
            13.5,
            "RTT quartiles 40/50/60 ms: APNIC 2022-11; bandwidth: Ookla Q3'21; jitter fitted to the"
            " quartiles' width; the 15 s cycle of arXiv 2601.08439 is not modelled",
            # The interquartile range of gamma(2, 1) is 1.7313, that of the source 20 ms.
            jitter_ms=11.55,
        ),
        _profile(
            "geo",
            600,
            19,
            2.75,
            "RTT, a lower bound: Starlink IMC'22; bandwidth: Ookla Q3'21, up the middle of 2.5-3",
        ),
    )
}

#: The four delays of Revisiting Cascaded Ensembles, section 4.2.
PAPERS_DELAYS = ("coe-1us", "coe-10ms", "coe-100ms", "coe-1s")


def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ProfileError: there is none; the message names the nearest and all known names.
    """
    if name not in PROFILES:
        raise ProfileError(unknown("profile", name, PROFILES))
    return PROFILES[name]
