"""Calibrates an artifact: rule, threshold and early stop, into its manifest; knows no network.

Queries are shuffled by a seed and halved. One half sets the threshold; the other says what
that threshold does on queries it has not seen, and sets the level at which a response is
stopped because deferral is likely. A router is trained on queries of its own before.
"""

from __future__ import annotations

from escalade.edge.artifact import Manifest
from escalade.edge.base import counted, source_name, utc_now
from escalade.edge.calibration.data import ScoredQueries
from escalade.edge.calibration.early import (
    EarlyGoal,
    Responses,
    calibrate_early,
    check_early,
    responses_of,
    tokens_saved,
)
from escalade.edge.calibration.halves import halves_of, learned, learned_from
from escalade.edge.calibration.thresholds import measured, threshold_for
from escalade.edge.calibration.writing import PROMPTS_FILE, write_deferral
from escalade.edge.deferral import (
    CalibrationEntry,
    DeferralEntry,
    DeferralRule,
    Goal,
    Measured,
    Router,
    RouterTraining,
    WithinGoal,
    check_goal,
    rule_named,
    seen_of,
)
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact


def calibrate(
    artifact: Artifact,
    answers: ScoredQueries,
    goal: Goal,
    *,
    rule: str | Router | None = None,
    early: EarlyGoal | None = None,
    seed: int = 1,
) -> Manifest:
    """Set the threshold of an artifact, from its own answers, and write it to the manifest.

    A threshold belongs to its rule, so another rule is set here, together with its own.

    Args:
        artifact: opened; its folder is written.
        answers: this artifact's, with judgements where the goal is one of quality.
        goal: what the threshold is for.
        rule: the rule to set, by name or as a router trained on `halves_of(n, seed=seed,
            train=True).train`; None keeps the manifest's. No query whose prompt a router has
            learned from sets or checks its threshold, whichever file it comes in.
        early: also find when deferral is likely; None stops only where it is certain.
        seed: who is in which half, >= 0.

    Returns:
        The manifest as written. Where the goal is `WithinGoal` and nothing can be certified,
        the threshold defers every query, and `calibration.certified` is False.

    Raises:
        CalibrationError: the goal is out of range or cannot be reached, there is no such rule,
            answers are not judged, there are too few, or a score is not finite; it is not
            known whether a kept router was trained on these queries, or, where something is
            to be guaranteed, whether the answers are this artifact's; or somebody else has given
            the artifact other files meanwhile. Nothing is written.
        ArtifactError: the manifest's router cannot be read.
        DataError: the folder cannot be written.
    """
    check_asked(goal, rule, early)
    chosen = (rule_named(rule) if isinstance(rule, str) else rule) or artifact.rule
    guaranteed = isinstance(goal, WithinGoal) or early is not None
    if guaranteed and not answers.identified:
        raise CalibrationError(
            f"{answers.source}: does not say which program it was recorded with, so that nothing"
            " can be guaranteed; record it again"
        )
    n = len(answers.logprobs)
    training, seen = artifact.manifest.deferral.router_training, None
    if isinstance(rule, Router):
        chosen_half = halves_of(n, seed=seed, train=True).train
        seen = seen_of(answers.prompts[index] for index in chosen_half)
        but = learned(answers.prompts, seen)
        training = RouterTraining(
            data_sha256=answers.sha256,
            seed=seed,
            asked=n + answers.left_out,
            n=n,
            prompts=PROMPTS_FILE,
        )
    elif isinstance(chosen, Router):
        but = learned_from(artifact, answers.prompts, answers.sha256, guaranteed=guaranteed)
    else:
        but, training = set(), None
    halves = halves_of(n, seed=seed, but=but)
    if not halves.fit or (early is not None and not halves.held_out):
        unseen = f", {len(but)} of which the router has learned from" if but else ""
        raise CalibrationError(f"too few to divide: {counted(n, 'query')}{unseen}")
    fit = answers.subset(halves.fit)
    scores = [chosen(logprobs) for logprobs in fit.logprobs]
    threshold = threshold_for(goal, scores, fit.judged)
    certified = threshold is not None if isinstance(goal, WithinGoal) else None
    tau = chosen.lowest if threshold is None else threshold
    on_fit, fit_responses = _measured(chosen, tau, fit)
    on_others, stop = None, None
    if halves.held_out:
        on_others, others_responses = _measured(chosen, tau, answers.subset(halves.held_out))
        if early is not None:
            stop = calibrate_early(fit_responses, others_responses, tau, early)
    entry = CalibrationEntry(
        data=source_name(answers.source),
        data_sha256=answers.sha256,
        goal=goal,
        certified=certified,
        fit=on_fit,
        held_out=on_others,
        trained=len(but),
        left_out=answers.left_out,
        seed=seed,
        date=utc_now(),
    )
    deferral = DeferralEntry(
        rule=chosen.name,
        router_training=training,
        threshold=tau,
        calibration=entry,
        early=stop,
        kernels=artifact.manifest.deferral.kernels,
    )
    return write_deferral(artifact, deferral, chosen, seen)


def check_asked(goal: Goal, rule: str | Router | None, early: EarlyGoal | None) -> None:
    """Refuse what `calibrate` would refuse whatever the answers are: before they are asked for.

    Raises:
        CalibrationError: a number of a goal is out of range, or there is no such rule.
    """
    try:
        check_goal(goal)
        if isinstance(rule, str):
            rule_named(rule)
        if early is not None:
            check_early(early)
    except ValueError as error:
        raise CalibrationError(str(error)) from error


def _measured(
    rule: DeferralRule, threshold: float, answers: ScoredQueries
) -> tuple[Measured, Responses]:
    """What a threshold does on queries."""
    responses = responses_of(rule, threshold, answers.logprobs, answers.longest)
    saved = tokens_saved(responses)
    scores = responses.scores.tolist()
    return measured(scores, threshold, answers.judged, tokens_saved=saved), responses
