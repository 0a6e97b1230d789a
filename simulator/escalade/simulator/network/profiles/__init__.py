"""Named networks with their sources, from files; knows no clock, no socket and no delay."""

from escalade.simulator.network.profiles.changes import with_fields
from escalade.simulator.network.profiles.episodes import Bursts, Chance, Cycle, Spike
from escalade.simulator.network.profiles.mahimahi import read_mahimahi
from escalade.simulator.network.profiles.profile import Profile
from escalade.simulator.network.profiles.reading import (
    PAPERS_DELAYS,
    Profiles,
    get_profile,
    profiles_with,
)
from escalade.simulator.network.profiles.series import RateSeries, RttSeries
from escalade.simulator.network.profiles.spreads import Spread

__all__ = [
    "PAPERS_DELAYS",
    "Bursts",
    "Chance",
    "Cycle",
    "Profile",
    "Profiles",
    "RateSeries",
    "RttSeries",
    "Spike",
    "Spread",
    "get_profile",
    "profiles_with",
    "read_mahimahi",
    "with_fields",
]
