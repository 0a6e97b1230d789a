"""The numbers of an evaluation as JSON-able records; knows no computation and no page.

Qualities are in the metric's own units: shares in [0, 1], BLEU and chrF in [0, 100]. Gains
and savings are positive where they favour the first-named, also for an error rate. Costs
are in the cost model's unit. `msgspec.json.encode` turns an `Evaluation` into what
`escalade evaluate --json` prints.
"""

from __future__ import annotations

import msgspec

from escalade.simulator.evaluation.bootstrap import Estimate


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """One record of an evaluation."""


class MetricInfo(_Result, frozen=True):
    """The metric that quality is measured by."""

    name: str
    label: str
    higher_is_better: bool
    #: In [0, 1]; else in points of 100.
    is_share: bool
    #: sacrebleu's, for what is computed with it.
    signature: str | None


class CostInfo(_Result, frozen=True):
    """The cost model."""

    name: str
    label: str
    unit: str


class Spread(_Result, frozen=True):
    """A number over the seeds of a group, in the order its traces were given."""

    by_seed: list[float | None]
    #: Standard deviation with n - 1; None where a seed has no such number.
    deviation: float | None


class Headline(_Result, frozen=True):
    """What the cascades of one group amount to under one rule; means over its seeds."""

    group: str
    rule: str
    seeds: int
    small_quality: Estimate
    large_quality: Estimate
    #: Mean quality over all deferral rates: of the cascade, of random deferral, of the oracle.
    #: Rates under those that always defer (an infinite score) have the quality at that rate.
    area: Estimate
    random_area: Estimate
    oracle_area: Estimate
    #: (area - random) / (oracle - random): 0 defers no better than chance, 1 perfectly.
    share_of_oracle_gain: Estimate
    #: The least cost that reaches the slice's `quality`.
    cost_at_quality: Estimate
    #: 1 - that over the cost of asking the large model alone.
    saved_against_large: Estimate
    #: The same at the quality of the large model alone.
    saved_at_large_quality: Estimate
    #: Quality for the slice's `budget`.
    quality_at_budget: Estimate
    #: The spread of each of the above, by its name; empty for a single seed.
    over_seeds: dict[str, Spread]


class Contrast(_Result, frozen=True):
    """One group and rule against another, paired by queries, and by seeds where they match."""

    group: str
    rule: str
    baseline: str
    baseline_rule: str
    #: Both have as many seeds, more than 1: the k-th is held against the k-th.
    paired_seeds: bool
    area_gain: Estimate
    #: Of no difference in area: two-sided, paired bootstrap; not adjusted for other tests.
    p_value: float | None
    #: 1 - cost over the baseline's, each at the slice's `quality`.
    cost_saved: Estimate
    #: Quality gained at the slice's `budget`.
    quality_gained: Estimate
    area_gain_by_seed: list[float]


class CurvePoints(_Result, frozen=True):
    """A curve to draw: means over seeds at evenly spaced deferral rates, all lists as long.

    None where no threshold gives that rate (queries with an infinite score always defer).
    """

    group: str
    rule: str
    deferral_rate: list[float]
    cost: list[float | None]
    quality: list[float | None]
    #: The lowest and highest seed; None for a single seed.
    lowest: list[float | None] | None
    highest: list[float | None] | None
    random: list[float]
    random_cost: list[float]
    oracle: list[float]
    oracle_cost: list[float]
    #: The parts of a mean metric (equation 9); None for a corpus metric.
    a1: list[float | None] | None
    a2: list[float | None] | None


class Slice(_Result, frozen=True):
    """All queries, or those of one task."""

    task: str | None
    queries: int
    #: Where costs are compared. Not asked for, it lies midway between the baseline's models.
    quality: float
    #: Where qualities are compared; not asked for, it is the baseline's cost at `quality`.
    budget: float | None
    headlines: list[Headline]
    contrasts: list[Contrast]
    curves: list[CurvePoints]


class OnDevice(_Result, frozen=True):
    """What the models of one group are below the gate; means over its seeds."""

    group: str
    #: Of all files of its artifacts.
    bytes: float
    #: Median over queries, as recorded.
    seconds: float
    small_quality: Estimate
    #: The least share of queries that is deferred where the cascade is as good as the large model
    #: alone; None where no threshold gets there.
    calls_to_match: Estimate


class Evaluation(_Result, frozen=True):
    """Everything an evaluation says."""

    metric: MetricInfo
    cost: CostInfo
    #: How many traces (seeds) each group has.
    groups: dict[str, int]
    baseline: str
    #: The tier before the gate whose threshold is swept; it is the small model, and all that is
    #: above the large one.
    gate: str
    #: How many gates the first trace has.
    gates: int
    rules: list[str]
    resamples: int
    seed: int
    #: The first is of all queries; the others, where asked for, of one task each.
    slices: list[Slice]
    #: What was left out, and why.
    notes: list[str]
    #: A row for each group, where its artifacts were given.
    on_device: list[OnDevice] = []
    #: What was written.
    report: str | None = None
    figures: list[str] = []
    tables: list[str] = []
