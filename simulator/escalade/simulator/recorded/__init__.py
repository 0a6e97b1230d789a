"""A recorded cascade as columns: who says what, at which score and cost; knows no network."""

from escalade.simulator.recorded.climb import (
    Climb,
    check_thresholds,
    climb,
    recorded_thresholds,
)
from escalade.simulator.recorded.costs import (
    CostModel,
    cost_named,
    flops,
    has_parameters,
    live_seconds,
    money,
    recorded_seconds,
    seconds,
    undrafted_seconds,
)
from escalade.simulator.recorded.prices import has_price, hour_words, is_priced, with_prices
from escalade.simulator.recorded.sampling import MOST_QUERIES, read_sample, read_shared_sample
from escalade.simulator.recorded.scores import RECORDED, Rule, rule_name, scores_of
from escalade.simulator.recorded.shadow import answered, check_answered
from escalade.simulator.recorded.tiers import Bools, Floats, RecordedTier, tiers_of

__all__ = [
    "MOST_QUERIES",
    "RECORDED",
    "Bools",
    "Climb",
    "CostModel",
    "Floats",
    "RecordedTier",
    "Rule",
    "answered",
    "check_answered",
    "check_thresholds",
    "climb",
    "cost_named",
    "flops",
    "has_parameters",
    "has_price",
    "hour_words",
    "is_priced",
    "live_seconds",
    "money",
    "read_sample",
    "read_shared_sample",
    "recorded_seconds",
    "recorded_thresholds",
    "rule_name",
    "scores_of",
    "seconds",
    "tiers_of",
    "undrafted_seconds",
    "with_prices",
]
