"""What a chunk of bytes passes on a network, a stage each; knows no socket and no clock."""

from escalade.simulator.network.stages.conditions import Conditions, RoundTrips, begins_from
from escalade.simulator.network.stages.link import Link, VaryingLink, seconds_per_byte
from escalade.simulator.network.stages.loss import (
    RTO_MIN_S,
    BurstLoss,
    Loss,
    packets_of,
    share_stalled,
)
from escalade.simulator.network.stages.outages import Away
from escalade.simulator.network.stages.stage import Stage, Uniform
from escalade.simulator.network.stages.travel import Floor, Jitter, Spikes, Spreading, Traced

__all__ = [
    "RTO_MIN_S",
    "Away",
    "BurstLoss",
    "Conditions",
    "Floor",
    "Jitter",
    "Link",
    "Loss",
    "RoundTrips",
    "Spikes",
    "Spreading",
    "Stage",
    "Traced",
    "Uniform",
    "VaryingLink",
    "begins_from",
    "packets_of",
    "seconds_per_byte",
    "share_stalled",
]
