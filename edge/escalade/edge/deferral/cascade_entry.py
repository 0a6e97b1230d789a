"""What a `cascade.toml` says of how its thresholds were found; knows no file and no tier."""

from __future__ import annotations

import math
import sys
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Count, Finite, Positive, Seed, Share, listed
from escalade.edge.deferral.entry import QualityGoal, Table, WithinGoal, check_goal, check_share

#: What a query costs: FLOPs (2 x parameters for each token read or written), money (the file's
#: prices), or 1 where the last tier answers; of all members that ran, and all tiers.
CostUnit = Literal["flops", "money", "calls"]

Amount = Annotated[float, msgspec.Meta(ge=0.0, le=sys.float_info.max)]


class RatesGoal(Table, frozen=True, kw_only=True, tag_field="kind", tag="rates"):
    """Send on, at each gate, this share of the queries that come to it."""

    #: One for each gate, or one for all.
    targets: list[Share]


class BudgetGoal(Table, frozen=True, kw_only=True, tag_field="kind", tag="budget"):
    """As many right answers as can be had at this mean cost of a query, in the entry's unit."""

    most: Amount


#: `QualityGoal`: at the least cost. `WithinGoal`: at a low cost, against the last tier.
CascadeGoal = RatesGoal | BudgetGoal | QualityGoal | WithinGoal


class GateMeasured(Table, frozen=True, kw_only=True):
    """What one gate does: of the queries that come to it, the share that it sends on."""

    reached: Count
    deferral_rate: Share
    #: Wilson's, 95 %.
    deferral_interval: tuple[Share, Share]


class CascadeMeasured(Table, frozen=True, kw_only=True):
    """What the thresholds do on a set of queries. Shares; intervals are Wilson's, 95 %."""

    n: Positive
    gates: list[GateMeasured]
    #: The mean of a query; and where the last tier alone is asked.
    cost: Amount
    last_tier_cost: Amount
    #: Right answers of the cascade and of each tier alone; None without references.
    quality: Share | None = None
    quality_interval: tuple[Share, Share] | None = None
    tier_qualities: list[Share] | None = None


class SamplesEntry(Table, frozen=True, kw_only=True):
    """How a tier of one artifact draws several answers."""

    #: Its place in the cascade.
    tier: Count
    samples: Positive
    temperature: Finite
    seed: Seed


class PolicyEntry(Table, frozen=True, kw_only=True):
    """What a policy keeps on the device of the queries that are due, and was calibrated with."""

    #: Of what decides by the query alone (`content_sha256`); empty: nothing does.
    content_sha256: str
    #: Of the queries of the trace, the share that its content keeps.
    kept: Share
    #: Of all others, the share that link, battery, budget or a person keep, as it was told.
    blocked: Share


class CascadeCalibration(Table, frozen=True, kw_only=True):
    """How the thresholds of a cascade were found, all of them together."""

    #: The trace that the queries came from.
    data: str
    data_sha256: str
    goal: CascadeGoal
    cost: CostUnit
    #: What was set, one for each gate: other rules and thresholds are not these.
    rules: list[str]
    thresholds: list[Finite]
    #: SHA-256 of the manifest of each member on this device, in order: others are not these. Empty
    #: of a member elsewhere, which may move.
    members: list[str]
    #: Of all members, those elsewhere too, in order; empty where all have one.
    weights: list[Finite] = msgspec.field(default_factory=list)
    samples: list[SamplesEntry] = msgspec.field(default_factory=list)
    #: None where every query that is due is sent.
    policy: PolicyEntry | None = None
    #: Whether the goal's guarantee holds; None for a goal without one. Where it does not, the
    #: thresholds defer every query.
    certified: bool | None = None
    #: The queries that set the thresholds, and others that did not.
    fit: CascadeMeasured
    held_out: CascadeMeasured | None = None
    #: In neither: queries that a router was trained on, that put the tests of a guarantee in
    #: order, and that some tier did not answer.
    trained: Count = 0
    ordered: Count = 0
    left_out: Count = 0
    #: Who is in which set.
    seed: Count
    date: str

    def __post_init__(self) -> None:
        """Check what the types do not say.

        Raises:
            ValueError: an interval falls, or lists are not of one length.
        """
        lengths = {"rules": len(self.rules)}
        if isinstance(self.goal, RatesGoal) and len(self.goal.targets) != 1:
            lengths["goal.targets"] = len(self.goal.targets)
        for name in ("fit", "held_out"):
            found: CascadeMeasured | None = getattr(self, name)
            if found is None:
                continue
            lengths[f"{name}.gates"] = len(found.gates)
            if found.tier_qualities is not None:
                lengths[f"{name}.tier_qualities"] = len(found.tier_qualities) - 1
            intervals = [found.quality_interval, *(one.deferral_interval for one in found.gates)]
            for interval in intervals:
                if interval is not None and interval[0] > interval[1]:
                    raise ValueError(f"{name}: an interval must rise, got {listed(interval)}")
        for name, length in lengths.items():
            if length != len(self.thresholds):
                raise ValueError(
                    f"{name} must be of {len(self.thresholds)} gates, as thresholds is, got"
                    f" {length}"
                )


def check_cascade_goal(goal: CascadeGoal) -> None:
    """Check a goal's numbers.

    Raises:
        ValueError: one is out of range.
    """
    if isinstance(goal, RatesGoal):
        for target in goal.targets:
            check_share("target deferral rate", target)
    elif isinstance(goal, BudgetGoal):
        if not 0.0 <= goal.most < math.inf:
            raise ValueError(f"budget must be at least 0 and finite, got {goal.most}")
    else:
        check_goal(goal)
