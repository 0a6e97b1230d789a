"""What the options of `escalade calibrate` say a threshold is for; knows no trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escalade.edge.deferral import CascadeGoal, CostUnit, Goal


@dataclass(frozen=True, kw_only=True)
class GoalOptions:
    """The options, as given; one of the goals is to be there."""

    rates: str | None
    quality: float | None
    budget_flops: float | None
    budget_money: float | None
    budget_calls: float | None
    within: float | None
    delta: float
    cost: CostUnit | None


def cascade_goal(options: GoalOptions) -> tuple[CascadeGoal, CostUnit | None]:
    """The goal for a cascade, and what its costs are counted in; None leaves that open.

    Raises:
        CliError: there is not one goal, a rate is no number, or a budget is in other units than
            `--cost`.
    """
    from escalade.cli.errors import CliError
    from escalade.edge.deferral import BudgetGoal, QualityGoal, RatesGoal, WithinGoal

    goals: list[tuple[CascadeGoal, CostUnit | None]] = []
    if options.rates is not None:
        goals.append((RatesGoal(targets=_rates(options.rates)), None))
    if options.quality is not None:
        goals.append((QualityGoal(target=options.quality), None))
    budgets: list[tuple[CostUnit, float | None]] = [
        ("flops", options.budget_flops),
        ("money", options.budget_money),
        ("calls", options.budget_calls),
    ]
    goals += [(BudgetGoal(most=most), unit) for unit, most in budgets if most is not None]
    if options.within is not None:
        goals.append((WithinGoal(epsilon=options.within, delta=options.delta), None))
    if len(goals) != 1:
        raise CliError(
            "give one goal: --target-deferral-rate, --target-quality, --within, or a budget; got"
            f" {len(goals)}"
        )
    goal, unit = goals[0]
    if unit is not None and options.cost not in {None, unit}:
        raise CliError(f"--budget-{unit} counts {unit}, and --cost {options.cost}; leave one out")
    return goal, unit or options.cost


def artifact_goal(options: GoalOptions) -> Goal:
    """The goal for one artifact, with a single gate and no cost but deferral.

    Raises:
        CliError: see `cascade_goal`; or the goal, or `--cost`, is of a cascade.
    """
    from escalade.cli.errors import CliError
    from escalade.edge.deferral import BudgetGoal, RateGoal, RatesGoal

    goal, unit = cascade_goal(options)
    if isinstance(goal, BudgetGoal) or unit is not None:
        raise CliError("budgets and --cost are for a cascade.toml; an artifact knows its own alone")
    if not isinstance(goal, RatesGoal):
        return goal
    if len(goal.targets) != 1:
        raise CliError(f"--target-deferral-rate of an artifact is one number, got {options.rates}")
    return RateGoal(target=goal.targets[0])


def _rates(text: str) -> list[float]:
    from escalade.cli.errors import CliError

    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise CliError(
            "--target-deferral-rate must be a number in [0, 1], or one for each gate with commas"
            f" between, got {text[:80]!r}"
        ) from None
