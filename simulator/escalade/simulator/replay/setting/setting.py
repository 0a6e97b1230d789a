"""What a replay takes other than the recording had it; knows no trace and no network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from escalade.simulator.devices import Replayed
from escalade.simulator.errors import SimulatorError
from escalade.simulator.formats import percent
from escalade.simulator.replay.setting.keeping import Keeping


class Room(NamedTuple):
    """How long an answer may become: a score is certain by what may still come."""

    #: `max_new_tokens` of the artifact.
    tokens: int
    #: Its window, which prompt and answer share; None: never reached.
    window: int | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The device that computes, how long it waits, and whether it ends answers early.

    Attributes:
        device: in place of the one that recorded; None: that one, of which no power is known.
        deadline_s: seconds that each link has for a query, > 0, as `edge.wire` has it: what takes
            longer is no answer, and is asked again later.
        hedge_after_s: seconds after which a query without an answer is asked a second time, > 0.
        dialled: share of the calls, in [0, 1], that find no connection open and dial, over TLS
            (`ready_s`). Behind a gateway connections are always open: it has many callers.
        keeping: what a policy keeps on the device; None: every query that is due is sent.
        room: what an answer may have that ends early where its query is certain to be deferred;
            None: all run to their end.
    """

    device: Replayed | None = None
    deadline_s: float = math.inf
    hedge_after_s: float = math.inf
    dialled: float = 0.0
    room: Room | None = None
    keeping: Keeping | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SimulatorError: a time is not above 0, or a share is none.
        """
        for name in ("deadline_s", "hedge_after_s"):
            if not (value := getattr(self, name)) > 0:
                raise SimulatorError(f"{name} must be above 0; got {value:g}")
        if not 0.0 <= self.dialled <= 1.0:
            raise SimulatorError(f"dialled must be in [0, 1]; got {self.dialled:g}")

    @property
    def scale(self) -> float:
        """What the seconds of tiers on the device are multiplied by, > 0."""
        return 1.0 if self.device is None else self.device.scale

    @property
    def thresholds_alone(self) -> bool:
        """Whether thresholds alone decide which tiers a query comes to, and what each takes."""
        return self.deadline_s == math.inf and self.room is None and self.keeping is None

    @property
    def words(self) -> list[str]:
        """What is other than it was recorded, a line each."""
        found = []
        if self.scale != 1:
            found.append(f"seconds on the device are those recorded times {self.scale:.4g}")
        if self.dialled:
            share = percent(self.dialled)
            found.append(f"{share} of the calls find no connection open and dial, over TLS")
        if self.hedge_after_s < math.inf:
            found.append(f"a query without an answer after {self.hedge_after_s:g} s is asked again")
        if self.keeping is not None:
            found += self.keeping.words
        if self.room is not None:
            window = "" if self.room.window is None else f", in a window of {self.room.window}"
            found.append(f"answers end early where they may: of {self.room.tokens} tokens{window}")
        if self.deadline_s < math.inf:
            found.append(f"each link has {self.deadline_s:g} s for a query")
        return found

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
