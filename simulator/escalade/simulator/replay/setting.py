"""What a replay takes other than the recording had it; knows no trace and no network."""

from __future__ import annotations

from dataclasses import dataclass

from escalade.simulator.devices import Replayed


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The device that computes.

    Attributes:
        device: in place of the one that recorded; None: that one, of which no power is known.
    """

    device: Replayed | None = None

    @property
    def scale(self) -> float:
        """What the seconds of tiers on the device are multiplied by, > 0."""
        return 1.0 if self.device is None else self.device.scale

    @property
    def watts(self) -> float | None:
        """Power while a model computes."""
        return None if self.device is None else self.device.device.watts

    @property
    def battery_wh(self) -> float | None:
        """Capacity of the battery, in watt-hours."""
        return None if self.device is None else self.device.device.battery_wh


#: As it was recorded.
AS_RECORDED = Setting()
