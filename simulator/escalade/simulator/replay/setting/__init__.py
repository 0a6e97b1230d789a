"""What a replay takes other than the recording had it; knows no threshold."""

from escalade.simulator.replay.setting.early import EarlyDeferral
from escalade.simulator.replay.setting.hedging import hedged_s
from escalade.simulator.replay.setting.keeping import keeping_of, kept_in
from escalade.simulator.replay.setting.setting import AS_RECORDED, Room, Setting

__all__ = [
    "AS_RECORDED",
    "EarlyDeferral",
    "Room",
    "Setting",
    "hedged_s",
    "keeping_of",
    "kept_in",
]
