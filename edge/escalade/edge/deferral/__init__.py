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
from escalade.edge.deferral.gate import Early, Gate, VoteRule
from escalade.edge.deferral.router import ROUTER, Router, token_probabilities
from escalade.edge.deferral.rule import DeferralRule
from escalade.edge.deferral.rules import RULES, defers, mean_nll, rule_named
from escalade.edge.deferral.vote import VOTE, Vote, is_decided, is_settled, vote_bounds, vote_share

__all__ = [
    "ROUTER",
    "RULES",
    "VOTE",
    "CalibrationEntry",
    "DeferralEntry",
    "DeferralRule",
    "Early",
    "EarlyEntry",
    "EarlyStop",
    "Gate",
    "Goal",
    "Measured",
    "QualityGoal",
    "RateGoal",
    "Router",
    "RouterTraining",
    "Statistic",
    "Table",
    "Vote",
    "VoteRule",
    "WithinGoal",
    "check_deferral",
    "check_goal",
    "check_share",
    "defers",
    "is_decided",
    "is_settled",
    "mean_nll",
    "rule_named",
    "rule_of",
    "token_probabilities",
    "vote_bounds",
    "vote_share",
]
