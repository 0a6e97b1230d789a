"""The thresholds of a cascade's gates, out of a trace; asks no model."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from escalade.cli.lines import UNCHECKED, cascade_calibration_lines
from escalade.cli.output import harmless, note_console, print_json, result_console
from escalade.cli.verbs.calibrate.goals import GoalOptions, cascade_goal
from escalade.edge import OpenOptions
from escalade.edge.calibration import calibrate_cascade
from escalade.edge.opening import open_cascade


def calibrate_gates(
    path: Path,
    trace: Path,
    options: GoalOptions,
    blocked: float,
    limit: int | None,
    seed: int,
    trusted_key: Path | None,
    *,
    json: bool,
) -> None:
    """Set the thresholds of all gates in the cascade's file, and say what they are.

    Args:
        path: the `cascade.toml`.
        trace: what `escalade record` made with it.
        options: the goal, as it was given.
        blocked: share of queries that the policy keeps beside those that it knows by content.
        limit: of queries.
        seed: of what is drawn.
        trusted_key: see `OpenOptions`.
        json: whether the result is printed as JSON.
    """
    goal, unit = cascade_goal(options)
    opening = OpenOptions(trusted_key=trusted_key)
    with closing(open_cascade(path, opening, calibrated=False)) as cascade:
        found = calibrate_cascade(
            path, cascade, trace, goal, cost=unit, limit=limit, blocked=blocked, seed=seed
        )
        names, currency = [tier.name for tier in cascade.tiers], cascade.currency
    if found.held_out is None:
        note_console().print(UNCHECKED)
    if json:
        print_json(found)
        return
    for line in cascade_calibration_lines(found, names, currency):
        result_console().print(harmless(line))
