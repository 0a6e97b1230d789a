"""The verb: reads its options, and says what goes with what; asks no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from escalade.cli.options import (
    BlockedOption,
    CascadeArgument,
    JsonOption,
    LimitOption,
    SeedOption,
    TrustedKeyOption,
)


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
            " on such a machine alone, and refused where it has none; default: as before.",
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
    from escalade.cli.verbs.calibrate.goals import GoalOptions, artifact_goal
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
    if cascade.exists() and not cascade.is_dir():
        if (data, rule, early_miss_rate, kernels) != (None,) * 4 or trace is None:
            raise CliError(
                "a cascade is calibrated from a --trace, and takes no --data, --rule, --kernels and"
                " --early-miss-rate: its file names the rules"
            )
        from escalade.cli.verbs.calibrate.cascade import calibrate_gates

        calibrate_gates(cascade, trace, options, blocked, limit, seed, trusted_key, json=json)
        return
    if blocked:
        raise CliError("--blocked is of a cascade's policy; an artifact has none")
    goal = artifact_goal(options)
    source = data if trace is None else trace
    if source is None or (data is not None and trace is not None):
        raise CliError("give --data or --trace, one of them")
    if kernels is not None and data is None:
        raise CliError("--kernels needs --data: a trace has the scores of those it was recorded by")
    from escalade.cli.verbs.calibrate.artifact import calibrated, opened, show

    early = None if early_miss_rate is None else (early_miss_rate, delta)
    artifact = opened(cascade, trusted_key, kernels)
    entry = calibrated(artifact, source, trace is not None, goal, rule, early, limit, seed)
    show(cascade, entry, json=json)
