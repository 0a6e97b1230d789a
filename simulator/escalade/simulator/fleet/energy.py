"""What queries take of devices' batteries, of counts of a run; knows no single event.

A device computes at its power and pays for its own calls, as in a replay (`replay.course`): what it
draws while it waits for an answer is left out, as is all that it draws anyway. Each attempt sends
its bytes; a call wakes the radio once, however often it is tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from escalade.simulator.devices import J_PER_WH, Device, EnergyRow
from escalade.simulator.fleet.demand import Built
from escalade.simulator.fleet.description import Spec
from escalade.simulator.fleet.engine import Outcome
from escalade.simulator.formats import percent
from escalade.simulator.network import Profile

_DAY_S = 86_400.0


class _Calls(NamedTuple):
    """Joules of a call over one network; all NaN where no source says, 0 where there is none."""

    woken_j: float
    up_j: float
    down_j: float

    @staticmethod
    def of(built: Built, profile: Profile | None) -> _Calls:
        """Of those that its devices make, on average."""
        queries = built.queries
        if profile is None or not queries.defers.any():
            return _Calls(0.0, 0.0, 0.0)
        woken_j, byte_j = profile.radio
        bytes_up = float(queries.bytes_up[queries.defers].mean())
        bytes_down = float(queries.bytes_down[queries.defers].mean())
        return _Calls(woken_j, byte_j * bytes_up, byte_j * bytes_down)


@dataclass(frozen=True)
class _Power:
    """What a group's devices draw.

    Attributes:
        built: the group.
        device: what they are.
    """

    built: Built
    device: Device

    def row(self, outcome: Outcome, place: int, seconds: float) -> EnergyRow:
        """Of a run of so many seconds, in which the group has that place."""
        computed_j, called_j = self._computed_j, self._called_j(outcome, place)
        joules = computed_j + called_j
        a_day = _DAY_S / seconds
        count = self.built.group.count
        mean = a_day * float(outcome.tally.arrived[place].sum()) / count
        most = a_day * float(outcome.busiest[place]) if a_day <= 1 else math.nan
        battery_j = math.nan
        if self.device.battery_wh is not None:
            battery_j = J_PER_WH * self.device.battery_wh
        return EnergyRow(
            group=self.built.group.name,
            device=self.device.name,
            queries_a_day=mean,
            computed_j=_known(computed_j),
            called_j=_known(called_j),
            joules=_known(joules),
            joules_a_day=_known(mean * joules),
            battery_wh=self.device.battery_wh,
            battery_share=_known(mean * joules / battery_j),
            battery_share_p99=_known(most * joules / battery_j),
        )

    def notes(self, row: EnergyRow) -> Iterator[str]:
        """What has no source, of its row."""
        name = self.built.group.name
        if row.computed_j is None:
            alone = ""
            if row.called_j is not None and row.battery_wh is not None:
                a_day = row.queries_a_day * row.called_j / (J_PER_WH * row.battery_wh)
                alone = f"; calls alone take {percent(a_day)} of the battery a day"
            yield (
                f"{name}: no source has the power of {self.device.name} (watts of --devices FILE),"
                f" so that what its models draw is left out{alone}"
            )
        for profile in (self.built.profile, self.built.past):
            if math.isnan(sum(_Calls.of(self.built, profile))) and profile is not None:
                yield (
                    f"{name}: no source has the energy of {profile.name} (joules_per_call or"
                    " joules_per_mb of --profiles FILE), so that what calls draw is left out"
                )

    @property
    def _computed_j(self) -> float:
        device_s = float(self.built.queries.device_s.mean())
        watts = math.nan if self.device.watts is None else self.device.watts
        return watts * device_s if device_s else 0.0

    def _called_j(self, outcome: Outcome, place: int) -> float:
        """Of a query that comes, whether or not it goes up."""
        tally = outcome.tally
        arrived = int(tally.arrived[place].sum())
        if not arrived:
            return math.nan
        own = _Calls.of(self.built, self.built.profile)
        sent, refused = tally.sent, tally.refused
        if self.built.beyond is not None:
            sent, refused = tally.near_sent, tally.near_refused
        attempts, lost = int(sent[place].sum()), int(refused[place].sum())
        joules = own.woken_j * int(tally.left[place])
        joules += own.up_j * attempts + own.down_j * (attempts - lost)
        found = joules / arrived
        # Those are counted as latencies are, without the warm-up's.
        if measured := int(tally.histogram[place].sum()):
            past = sum(_Calls.of(self.built, self.built.past))
            found += past * int(tally.past[place]) / measured
        return found


def energy_of(
    spec: Spec, outcome: Outcome, built: Sequence[Built]
) -> tuple[list[EnergyRow], list[str]]:
    """A row of each group whose devices are named, and what has no source."""
    rows, notes = list[EnergyRow](), list[str]()
    for place, one in enumerate(built):
        if one.device is not None:
            power = _Power(one, one.device)
            rows.append(power.row(outcome, place, spec.seconds))
            notes += power.notes(rows[-1])
    return rows, notes


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
