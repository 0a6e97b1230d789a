"""`escalade calibrate`: an artifact's rule, threshold and early stop; knows no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import ArtifactArgument, JsonOption, LimitOption, SeedOption

if TYPE_CHECKING:
    from escalade.edge.calibration import ScoredQueries
    from escalade.edge.deferral import DeferralEntry, Goal, Router


def calibrate(
    artifact: ArtifactArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Query records (JSON Lines: id, task, prompt, references); the artifact is asked.",
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            help="In place of --data: a trace that `escalade record` made with this artifact.",
        ),
    ] = None,
    target_deferral_rate: Annotated[
        float | None,
        typer.Option("--target-deferral-rate", help="Goal: share of queries to defer, in [0, 1]."),
    ] = None,
    target_quality: Annotated[
        float | None,
        typer.Option(
            "--target-quality",
            help="Goal: share of right answers, at the lowest deferral rate; needs --trace.",
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            help="Goal: largest loss of right answers against the large model, as a share; fails"
            " with probability --delta at most; needs --trace.",
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option("--delta", help="How likely a bound may fail, in (0, 1).")
    ] = 0.1,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            help="mean, sum, min, max, quantile:Q; router, trained on half of --trace; default: the"
            " manifest's.",
        ),
    ] = None,
    early_miss_rate: Annotated[
        float | None,
        typer.Option(
            "--early-miss-rate",
            help="Also find when a response may end because deferral is likely: the share of all"
            " queries that is then deferred wrongly, exceeded with probability --delta at most.",
        ),
    ] = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Set an artifact's deferral rule and threshold from its own scores.

    Give --data or --trace, and one goal. Half of the queries set the threshold, the others
    say what it does on queries it has not seen.
    """
    from escalade.cli.errors import CliError
    from escalade.cli.output import note_console, print_json, result_console
    from escalade.cli.verbs.inspect import deferral_lines
    from escalade.edge.artifact import SIGNATURE_NAME
    from escalade.edge.deferral import check_share

    goal = _goal(target_deferral_rate, target_quality, within, delta)
    try:
        check_share("--delta", delta, ends=False)
    except ValueError as error:
        raise CliError(str(error)) from error
    source = data if trace is None else trace
    if source is None or (data is not None and trace is not None):
        raise CliError("give --data or --trace, one of them")
    if seed < 0:
        raise CliError(f"--seed must be at least 0, got {seed}")
    early = None if early_miss_rate is None else (early_miss_rate, delta)
    result = _rule(artifact, source, trace is not None, goal, rule, early, limit, seed)
    if (signature := artifact / SIGNATURE_NAME).exists():
        note_console().print(f"{signature} is of the manifest as it was; sign it again")
    if result.calibration is not None and result.calibration.held_out is None:
        note_console().print("one query sets the threshold, and none is left to check it on")
    if json:
        print_json(result)
        return
    for line in deferral_lines(result):
        result_console().print(line)


def _goal(
    target_deferral_rate: float | None,
    target_quality: float | None,
    within: float | None,
    delta: float,
) -> Goal:
    from escalade.cli.errors import CliError
    from escalade.edge.deferral import QualityGoal, RateGoal, WithinGoal

    goals: list[Goal] = []
    if target_deferral_rate is not None:
        goals.append(RateGoal(target=target_deferral_rate))
    if target_quality is not None:
        goals.append(QualityGoal(target=target_quality))
    if within is not None:
        goals.append(WithinGoal(epsilon=within, delta=delta))
    if len(goals) != 1:
        raise CliError(
            f"give one goal: --target-deferral-rate, --target-quality or --within; got {len(goals)}"
        )
    return goals[0]


def _rule(
    folder: Path,
    source: Path,
    is_trace: bool,
    goal: Goal,
    rule: str | None,
    early: tuple[float, float] | None,
    limit: int | None,
    seed: int,
) -> DeferralEntry:
    """Calibrate one artifact."""
    from escalade.cli.errors import CliError
    from escalade.cli.output import progress_bar
    from escalade.edge.calibration import EarlyGoal, answers_in, answers_to
    from escalade.edge.calibration import calibrate as calibrate_artifact
    from escalade.edge.deferral import ROUTER, RateGoal
    from escalade.edge.generation import Artifact

    learned = rule == ROUTER
    if learned and not is_trace:
        raise CliError("a router is trained on a --trace")
    artifact = Artifact.open(folder)
    if is_trace:
        # A router is trained and kept on judged answers: on which, is how they were divided.
        kept = rule is None and artifact.manifest.deferral.router_training is not None
        judged = learned or kept or not isinstance(goal, RateGoal)
        answers = answers_in(artifact, source, judged=judged, limit=limit)
    else:
        with progress_bar("scoring") as tick:
            answers = answers_to(artifact, source, limit=limit, progress=tick)
    return calibrate_artifact(
        artifact,
        answers,
        goal,
        rule=_trained(answers, seed) if learned else rule,
        early=None if early is None else EarlyGoal(*early),
        seed=seed,
    ).deferral


def _trained(answers: ScoredQueries, seed: int) -> Router:
    """A router that has learned from queries that neither set the threshold nor check it."""
    from escalade.cli.output import progress_bar
    from escalade.edge.calibration import halves_of
    from escalade.training.router import train_router

    chosen = halves_of(len(answers.records), seed=seed, train=True).train
    records = [answers.records[index] for index in chosen]
    with progress_bar("training the router") as tick:
        return train_router(records, seed=seed, progress=tick).router
