"""What a manifest says of deferral: rule, threshold, how both were found; knows no runtime."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Literal

import msgspec

from escalade.edge.base import Count, Finite, OpenShare, Positive, Share, listed
from escalade.edge.deferral.router import ROUTER, Router
from escalade.edge.deferral.rule import DeferralRule
from escalade.edge.deferral.rules import rule_named

#: What a response that is not finished may be judged by: the same functions as the rules of
#: these names, of the tokens so far.
Statistic = Literal["mean", "sum", "min"]
#: What computes in place of ONNX Runtime's own kernels; see `escalade.edge.runtimes.onnx.kernels`.
Kernels = Literal["kleidiai"]
#: What an artifact may be calibrated with; `portable`: ONNX Runtime's own.
KernelsChoice = Literal["portable", "kleidiai"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object whose keys are all known."""


class RateGoal(Table, frozen=True, kw_only=True, tag_field="kind", tag="rate"):
    """Defer this share of the queries."""

    target: Share


class QualityGoal(Table, frozen=True, kw_only=True, tag_field="kind", tag="quality"):
    """Defer as few queries as give the cascade this share of right answers."""

    target: Share


class WithinGoal(Table, frozen=True, kw_only=True, tag_field="kind", tag="within"):
    """Defer few queries, but so many that the cascade is nearly as good as the large model.

    With probability at least `1 - delta` over the calibration queries, its share of right
    answers is at most `epsilon` below the large model's.
    """

    epsilon: OpenShare
    delta: OpenShare


Goal = RateGoal | QualityGoal | WithinGoal


class Measured(Table, frozen=True, kw_only=True):
    """What the threshold does on a set of queries. Shares; intervals are Wilson's, 95 %."""

    n: Positive
    deferral_rate: Share
    deferral_interval: tuple[Share, Share]
    #: Device tokens that are not generated where generation ends as soon as the score is
    #: certain to reach the threshold.
    tokens_saved: Share
    #: Right answers of the cascade and of either model alone; None without judged answers of
    #: both.
    quality: Share | None = None
    quality_interval: tuple[Share, Share] | None = None
    small_quality: Share | None = None
    large_quality: Share | None = None


class CalibrationEntry(Table, frozen=True, kw_only=True):
    """How the threshold was found."""

    #: The file the queries came from, records or a trace.
    data: str
    data_sha256: str
    goal: Goal
    #: Whether the goal's guarantee holds; None for a goal without one. Where it does not, the
    #: threshold defers every query.
    certified: bool | None = None
    #: The queries that set the threshold, and others that did not.
    fit: Measured
    held_out: Measured | None
    #: Queries that a router was trained on, before; they are in neither set.
    trained: Count = 0
    #: Queries of the file that were left out: the cloud did not answer them.
    left_out: Count = 0
    #: Who is in which set.
    seed: Count
    date: str


class EarlyEntry(Table, frozen=True, kw_only=True):
    """When to stop generating because the query will likely be deferred.

    After `min_tokens` tokens or more, as soon as `statistic` of the tokens so far is `level`
    or above. With probability at least `1 - delta` over the calibration queries, at most
    the share `miss_rate` of all queries is stopped whose score would have stayed below the
    threshold.
    """

    statistic: Statistic
    level: Finite
    min_tokens: Positive
    miss_rate: OpenShare
    delta: OpenShare
    #: The queries the level was set on, and how many of them it stops wrongly.
    n: Positive
    misses: Count
    #: Share of them that it stops, and of their device tokens that it saves.
    stopped: Share
    tokens_saved: Share


class RouterTraining(Table, frozen=True, kw_only=True):
    """Which queries a router has learned from: no threshold is certified on them.

    They were the first half of `n` queries in the order of `seed`; those were what the cloud
    answered of `asked` queries, evenly spread over the file.
    """

    data_sha256: str
    seed: Count
    asked: Count
    n: Count
    #: The file of digests of their prompts (`seen.py`); None in manifests of earlier versions.
    prompts: str | None = None


class DeferralEntry(Table, frozen=True, kw_only=True):
    """The deferral rule and its threshold tau; None until calibrated."""

    rule: str = "mean"
    #: The file of the learned rule, where the rule is one.
    router: str | None = None
    #: None in manifests of earlier versions.
    router_training: RouterTraining | None = None
    threshold: Finite | None = None
    calibration: CalibrationEntry | None = None
    #: None stops only where deferral is certain.
    early: EarlyEntry | None = None
    #: Whose sums gave the scores that set the threshold, and are to give all others. Manifests of
    #: ONNX Runtime's own kernels, which it has for every processor, do not have it.
    kernels: Kernels | msgspec.UnsetType = msgspec.UNSET

    @property
    def files(self) -> set[str]:
        """The files that came with a learned rule, and go with it."""
        prompts = None if self.router_training is None else self.router_training.prompts
        return {name for name in (self.router, prompts) if name is not None}


def rule_of(folder: Path, entry: DeferralEntry) -> DeferralRule:
    """The deferral rule of an artifact, a router with its weights.

    Args:
        folder: the artifact.
        entry: what its manifest says.

    Raises:
        ArtifactError: the router cannot be read.
    """
    return rule_named(entry.rule) if entry.router is None else Router.open(folder / entry.router)


def check_deferral(entry: DeferralEntry, files: Container[str]) -> None:
    """Check what the types do not say.

    Args:
        entry: as decoded.
        files: the names of the artifact's files.

    Raises:
        ValueError: values do not fit one another, or a file is not listed. The message begins
            with the field's name, under `deferral`.
    """
    if (entry.rule == ROUTER) != (entry.router is not None):
        raise ValueError(
            f"router must name a file where the rule is {ROUTER!r}, and nowhere else; got"
            f" {entry.router!r} with rule {entry.rule[:80]!r}"
        )
    if entry.router is None:
        rule_named(entry.rule)
    elif entry.router not in files:
        raise ValueError(f"router: files does not list {entry.router[:80]!r}")
    if entry.router_training is not None and entry.router is None:
        raise ValueError("router_training: there is no router")
    if entry.router_training is not None and entry.router_training.prompts is not None:
        name = entry.router_training.prompts
        if name not in files:
            raise ValueError(f"router_training.prompts: files does not list {name[:80]!r}")
    if entry.early is not None and entry.threshold is None:
        raise ValueError("early: there is no threshold that a score could reach")
    if entry.calibration is None:
        return
    for name, found in (("fit", entry.calibration.fit), ("held_out", entry.calibration.held_out)):
        for interval in () if found is None else (found.deferral_interval, found.quality_interval):
            if interval is not None and not interval[0] <= interval[1]:
                raise ValueError(
                    f"calibration.{name}: an interval must rise within [0, 1],"
                    f" got {listed(interval)}"
                )


def check_goal(goal: Goal) -> None:
    """Check a goal's numbers.

    Raises:
        ValueError: one is out of range.
    """
    if isinstance(goal, WithinGoal):
        check_share("epsilon", goal.epsilon, ends=False)
        check_share("delta", goal.delta, ends=False)
    else:
        check_share(
            "target deferral rate" if isinstance(goal, RateGoal) else "quality", goal.target
        )


def check_share(name: str, value: float | None, *, ends: bool = True) -> None:
    """Check that a share is one; `ends` says whether 0 and 1 may be had. None passes.

    Raises:
        ValueError: it is out of range.
    """
    if value is None or (0.0 <= value <= 1.0 if ends else 0.0 < value < 1.0):
        return
    raise ValueError(f"{name} must be in {'[0, 1]' if ends else '(0, 1)'}, got {value}")
