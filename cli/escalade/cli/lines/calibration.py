"""What a cascade's file says of its calibration, in words; knows no artifact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from escalade.edge.base import counted

if TYPE_CHECKING:
    from escalade.edge.deferral import (
        CascadeCalibration,
        CascadeMeasured,
        GateMeasured,
        PolicyEntry,
        WithinGoal,
    )

#: Said where no half of the queries is left for a check.
UNCHECKED = "one query sets the threshold, and none is left to check it on"


def cascade_calibration_lines(
    found: CascadeCalibration, tiers: Sequence[str], currency: str
) -> list[str]:
    """How the thresholds were found, what is promised, and what they do.

    Args:
        found: of a cascade of K gates.
        tiers: the names of its K + 1 tiers.
        currency: of prices.
    """
    source = f"from {found.data} (sha256 {found.data_sha256[:12]}), {found.date}, seed {found.seed}"
    if found.trained:
        source += f"; a router was trained on {counted(found.trained, 'query')}"
    if found.ordered:
        source += f"; {counted(found.ordered, 'query')} put the tests in order"
    if found.left_out:
        source += f"; {counted(found.left_out, 'query')} left out, which some tier did not answer"
    gates = zip(tiers, found.rules, found.thresholds, strict=False)
    lines = [f"after {tier}: rule {rule}, threshold {tau:.4f}" for tier, rule, tau in gates]
    lines += [_goal_line(found, tiers, currency), source]
    if found.policy is not None:
        lines.append(_policy_line(found.policy))
    lines.append(f"set on {_measured_line(found, found.fit, tiers, currency)}")
    measured = [found.fit, *([] if found.held_out is None else [found.held_out])]
    if found.held_out is not None:
        lines.append(f"checked on {_measured_line(found, found.held_out, tiers, currency)}")
    if found.certified is not False:
        for k, tier in enumerate(tiers[:-1]):
            reached = [one.gates[k].deferral_rate for one in measured if one.gates[k].reached]
            lines += all_or_none_lines(reached, tier, tiers[k + 1], "sent on")
    return lines


def all_or_none_lines(rates: Sequence[float], tier: str, above: str, sent: str) -> list[str]:
    """What a threshold comes to under which all queries go the same way; nothing where not all do.

    Args:
        rates: shares of the queries that are sent on, of each set that was measured.
        tier: whose threshold it is.
        above: who is asked behind it.
        sent: what a query is that goes there.
    """
    if set(rates) == {1.0}:
        return [f"every one of these queries is {sent}: no answer of {tier} stands"]
    if set(rates) == {0.0}:
        return [f"none of these queries is {sent}: {above} is never asked"]
    return []


def _goal_line(found: CascadeCalibration, tiers: Sequence[str], currency: str) -> str:
    from escalade.edge.deferral import BudgetGoal, QualityGoal, RatesGoal

    goal, last = found.goal, tiers[-1]
    if isinstance(goal, RatesGoal):
        rates = ", ".join(f"{target:.1%}" for target in goal.targets)
        return f"goal: send on {rates} at {'every gate' if len(goal.targets) == 1 else 'the gates'}"
    if isinstance(goal, BudgetGoal):
        return f"goal: most right answers at {_cost(found, goal.most, last, currency)} a query"
    if isinstance(goal, QualityGoal):
        unit = {"flops": "FLOPs", "money": currency, "calls": f"calls of {last}"}[found.cost]
        return f"goal: {goal.target:.1%} right answers, at the least cost in {unit}"
    policy = found.policy is not None
    return promise_line(goal, f"{last} alone", certified=found.certified, policy=policy)


def _policy_line(policy: PolicyEntry) -> str:
    """What stays on the device."""
    line = "policy: "
    if policy.content_sha256:
        line += f"patterns and tasks keep {policy.kept:.1%} of the queries here"
    if policy.content_sha256 and policy.blocked:
        line += ", and "
    if policy.blocked:
        line += f"{policy.blocked:.1%} of those that are due stay, as told"
    return f"{line}; the device's answer stands for them"


def promise_line(
    goal: WithinGoal, reference: str, *, certified: bool | None, policy: bool = False
) -> str:
    """What is promised, or was to be, against whose answers; `policy` keeps some queries here."""
    promise = (
        f"with probability {1 - goal.delta:.4g}, at most"
        f" {counted(100 * goal.epsilon, 'point', '.4g')} fewer right answers than"
        f" {reference}, on queries from the same source,"
        f"{' under this policy,' * policy} with early deferral off or certain"
    )
    if certified:
        return f"guaranteed: {promise}"
    return f"NOT GUARANTEED, so every query is deferred; these queries do not show it: {promise}"


def _measured_line(
    found: CascadeCalibration, measured: CascadeMeasured, tiers: Sequence[str], currency: str
) -> str:
    sent = ", ".join(
        f"{tier} sends on {_rate(gate, measured.n)}"
        for tier, gate in zip(tiers, measured.gates, strict=False)
    )
    parts = [f"{counted(measured.n, 'query')}: {sent}"]
    if measured.quality is not None and measured.quality_interval is not None:
        low, high = measured.quality_interval
        parts.append(f"right {measured.quality:.1%} ({low:.1%} to {high:.1%})")
    if measured.tier_qualities is not None:
        alone = zip(tiers, measured.tier_qualities, strict=True)
        parts.append(f"alone {', '.join(f'{tier} {share:.1%}' for tier, share in alone)}")
    cost = _cost(found, measured.cost, tiers[-1], currency)
    if found.cost != "calls":
        cost += f" a query, {tiers[-1]} alone {_cost(found, measured.last_tier_cost, '', currency)}"
    return "; ".join([*parts, cost])


def _rate(gate: GateMeasured, n: int) -> str:
    low, high = gate.deferral_interval
    of = "" if gate.reached == n else f" of {gate.reached}"
    return f"{gate.deferral_rate:.1%}{of} ({low:.1%} to {high:.1%})"


def _cost(found: CascadeCalibration, amount: float, last: str, currency: str) -> str:
    if found.cost == "calls":
        return f"{counted(amount, 'call', '.4g')} of {last}"
    return f"{amount:.4g} {'FLOPs' if found.cost == 'flops' else currency}"
