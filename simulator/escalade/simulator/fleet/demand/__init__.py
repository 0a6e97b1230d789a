"""What devices ask, when, and what calls meet; as arrays; knows no file and no event."""

from escalade.simulator.fleet.demand.arrays import Built, model_of
from escalade.simulator.fleet.demand.arrivals import Rate, rate_of, recorded_times
from escalade.simulator.fleet.demand.queries import Queries, queries_of, recorded_of

__all__ = [
    "Built",
    "Queries",
    "Rate",
    "model_of",
    "queries_of",
    "rate_of",
    "recorded_of",
    "recorded_times",
]
