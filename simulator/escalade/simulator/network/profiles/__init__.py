"""Named networks with their sources, from files; knows no clock, no socket and no delay."""

from escalade.simulator.network.profiles.episodes import Bursts, Chance, Cycle, Spike
from escalade.simulator.network.profiles.profile import HALF_GAMMA2_MEDIAN, Profile
from escalade.simulator.network.profiles.reading import (
    PAPERS_DELAYS,
    Profiles,
    get_profile,
    profiles_with,
    shipped_profiles,
)
from escalade.simulator.network.profiles.series import RateSeries, RttSeries
from escalade.simulator.network.profiles.spreads import (
    Lognormal,
    Normal,
    Pareto,
    Quantiles,
    Spread,
)

__all__ = [
    "HALF_GAMMA2_MEDIAN",
    "PAPERS_DELAYS",
    "Bursts",
    "Chance",
    "Cycle",
    "Lognormal",
    "Normal",
    "Pareto",
    "Profile",
    "Profiles",
    "Quantiles",
    "RateSeries",
    "RttSeries",
    "Spike",
    "Spread",
    "get_profile",
    "profiles_with",
    "shipped_profiles",
]
