"""`escalade calibrate`: thresholds of an artifact or of a cascade's gates; knows no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from escalade.cli.options import (
    BlockedOption,
    CascadeArgument,
    JsonOption,
    LimitOption,
    SeedOption,
    TrustedKeyOption,
)

if TYPE_CHECKING:
    from escalade.cli.goals import GoalOptions
    from escalade.edge.calibration import ScoredQueries
    from escalade.edge.deferral import DeferralEntry, Goal, KernelsChoice, Router
    from escalade.edge.generation import Artifact


def calibrate(
    cascade: CascadeArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Query records (JSON Lines: id, task, prompt, references); the artifact is asked.",
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="In place of --data: what `escalade record` made with it."),
    ] = None,
    target_deferral_rate: Annotated[
        str | None,
        typer.Option(
            "--target-deferral-rate",
            metavar="R[,R2...]",
            help="Goal: share of queries to defer, in [0, 1]; of a cascade for all gates, or for"
            " each, of the queries that come to it.",
        ),
    ] = None,
    target_quality: Annotated[
        float | None,
        typer.Option(
            "--target-quality",
            help="Goal: share of right answers, at the least deferrals or cost; needs --trace.",
        ),
    ] = None,
    budget_flops: Annotated[
        float | None,
        typer.Option("--budget-flops", help="Goal of a cascade: most right answers at so many."),
    ] = None,
    budget_money: Annotated[
        float | None,
        typer.Option("--budget-money", help="The same, at the file's prices and in its currency."),
    ] = None,
    budget_calls: Annotated[
        float | None,
        typer.Option("--budget-calls", help="The same, as a share of queries for the last tier."),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            help="Goal: largest loss of right answers against the large model or the last tier, as"
            " a share; fails with probability --delta at most; needs --trace.",
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option("--delta", help="How likely a bound may fail, in (0, 1).")
    ] = 0.1,
    cost: Annotated[
        Literal["flops", "money", "calls"] | None,
        typer.Option("--cost", help="Of a cascade: what is to be saved; default: flops."),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            help="Of an artifact: mean, sum, min, max, quantile:Q; router, trained on half of"
            " --trace; default: the manifest's.",
        ),
    ] = None,
    early_miss_rate: Annotated[
        float | None,
        typer.Option(
            "--early-miss-rate",
            help="Of an artifact: also find when a response may end because deferral is likely: the"
            " share of all queries that is then deferred wrongly, exceeded with probability --delta"
            " at most.",
        ),
    ] = None,
    kernels: Annotated[
        Literal["portable", "kleidiai"] | None,
        typer.Option(
            "--kernels",
            help="Of an artifact: whose kernels it is asked with from now on; kleidiai: Arm's own,"
            " on such a machine alone; default: as before.",
        ),
    ] = None,
    blocked: BlockedOption = 0.0,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    trusted_key: TrustedKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Set an artifact's deferral rule and threshold, or the thresholds of all gates of a cascade.

    Give --data or --trace, and one goal. Half of the queries set the thresholds, the others
    say what they do on queries they have not seen. A cascade's are written into its file, and its
    comments are kept.
    """
    from escalade.cli.errors import CliError
    from escalade.cli.goals import GoalOptions, artifact_goal
    from escalade.edge.deferral import check_share

    options = GoalOptions(
        rates=target_deferral_rate,
        quality=target_quality,
        budget_flops=budget_flops,
        budget_money=budget_money,
        budget_calls=budget_calls,
        within=within,
        delta=delta,
        cost=cost,
    )
    try:
        check_share("--delta", delta, ends=False)
    except ValueError as error:
        raise CliError(str(error)) from error
    if seed < 0:
        raise CliError(f"--seed must be at least 0, got {seed}")
    if cascade.exists() and not cascade.is_dir():
        if (data, rule, early_miss_rate, kernels) != (None,) * 4 or trace is None:
            raise CliError(
                "a cascade is calibrated from a --trace, and takes no --data, --rule, --kernels and"
                " --early-miss-rate: its file names the rules"
            )
        _calibrate_cascade(cascade, trace, options, blocked, limit, seed, trusted_key, json=json)
        return
    if blocked:
        raise CliError("--blocked is of a cascade's policy; an artifact has none")
    goal = artifact_goal(options)
    source = data if trace is None else trace
    if source is None or (data is not None and trace is not None):
        raise CliError("give --data or --trace, one of them")
    if kernels is not None and data is None:
        raise CliError("--kernels needs --data: a trace has the scores of those it was recorded by")
    early = None if early_miss_rate is None else (early_miss_rate, delta)
    artifact = _opened(cascade, trusted_key, kernels)
    entry = _rule(artifact, source, trace is not None, goal, rule, early, limit, seed)
    _show(cascade, entry, json=json)


def _calibrate_cascade(
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
    from contextlib import closing

    from escalade.cli.calibration_lines import cascade_calibration_lines
    from escalade.cli.goals import cascade_goal
    from escalade.cli.output import harmless, print_json, result_console
    from escalade.edge import OpenOptions
    from escalade.edge.calibration import calibrate_cascade
    from escalade.edge.opening import open_cascade

    goal, unit = cascade_goal(options)
    opening = OpenOptions(trusted_key=trusted_key)
    with closing(open_cascade(path, opening, calibrated=False)) as cascade:
        found = calibrate_cascade(
            path, cascade, trace, goal, cost=unit, limit=limit, blocked=blocked, seed=seed
        )
        names, currency = [tier.name for tier in cascade.tiers], cascade.currency
    _note_unchecked(found.held_out is None)
    if json:
        print_json(found)
        return
    for line in cascade_calibration_lines(found, names, currency):
        result_console().print(harmless(line))


def _show(folder: Path, entry: DeferralEntry, *, json: bool) -> None:
    from escalade.cli.output import note_console, print_json, result_console
    from escalade.cli.verbs.inspect import deferral_lines
    from escalade.edge.artifact import SIGNATURE_NAME

    if (signature := folder / SIGNATURE_NAME).exists():
        note_console().print(f"{signature} is of the manifest as it was; sign it again")
    _note_unchecked(entry.calibration is not None and entry.calibration.held_out is None)
    if json:
        print_json(entry)
        return
    for line in deferral_lines(entry):
        result_console().print(line)


def _note_unchecked(unchecked: bool) -> None:
    from escalade.cli.output import note_console

    if unchecked:
        note_console().print("one query sets the threshold, and none is left to check it on")


def _opened(folder: Path, trusted_key: Path | None, kernels: KernelsChoice | None) -> Artifact:
    """The artifact; what other kernels change of its golden answers is said."""
    from escalade.cli.output import harmless, note_console
    from escalade.edge.generation import Artifact, open_with_kernels

    if kernels is None:
        return Artifact.open(folder, trusted_key=trusted_key)
    artifact, same = open_with_kernels(folder, kernels, trusted_key=trusted_key)
    golden = len(artifact.manifest.golden)
    said = f"{folder}: {kernels} kernels leave {same} of {golden} golden answers as they were"
    note_console().print(harmless(said))
    return artifact


def _rule(
    artifact: Artifact,
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

    learned = rule == ROUTER
    if learned and not is_trace:
        raise CliError("a router is trained on a --trace")
    if is_trace:
        judged = learned or not isinstance(goal, RateGoal)
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
