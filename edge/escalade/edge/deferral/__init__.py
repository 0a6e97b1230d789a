"""Deferral rules: scores, bounds, early stops, and what a manifest says of them; knows no model."""

from escalade.edge.deferral.early import EarlyStop
from escalade.edge.deferral.entry import (
    CalibrationEntry,
    DeferralEntry,
    EarlyEntry,
    Goal,
    Measured,
    QualityGoal,
    RateGoal,
    RouterTraining,
    Statistic,
    Table,
    WithinGoal,
    check_deferral,
    check_goal,
    check_share,
    rule_of,
)
from escalade.edge.deferral.router import ROUTER, Router, token_probabilities
from escalade.edge.deferral.rules import RULES, DeferralRule, defers, mean_nll, rule_named

__all__ = [
    "ROUTER",
    "RULES",
    "CalibrationEntry",
    "DeferralEntry",
    "DeferralRule",
    "EarlyEntry",
    "EarlyStop",
    "Goal",
    "Measured",
    "QualityGoal",
    "RateGoal",
    "Router",
    "RouterTraining",
    "Statistic",
    "Table",
    "WithinGoal",
    "check_deferral",
    "check_goal",
    "check_share",
    "defers",
    "mean_nll",
    "rule_named",
    "rule_of",
    "token_probabilities",
]
