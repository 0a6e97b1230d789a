"""Calibrates an artifact: rule, threshold and early stop, into its manifest; knows no network.

Queries are shuffled by a seed and halved. One half sets the threshold; the other says what
that threshold does on queries it has not seen, and sets the level at which a response is
stopped because deferral is likely. A router is trained on queries of its own before.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from escalade.edge.artifact import MANIFEST_NAME, Manifest, file_entry, write_manifest
from escalade.edge.base import atomic_folder, sha256_of, utc_now
from escalade.edge.calibration.data import ScoredQueries
from escalade.edge.calibration.early import (
    EarlyGoal,
    Responses,
    calibrate_early,
    responses_of,
    tokens_saved,
)
from escalade.edge.calibration.thresholds import measured, threshold_for
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
)
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact

_ROUTER_FILE = "router.json"


class Halves(NamedTuple):
    """Which queries do what; indices, in random order."""

    train: list[int]
    fit: list[int]
    held_out: list[int]


def halves_of(n: int, *, seed: int, train: bool = False) -> Halves:
    """Divide n queries at random; the same way every time.

    Args:
        n: queries, >= 1.
        seed: of the order.
        train: keep the first half of them for training a router.
    """
    order = np.random.default_rng(seed).permutation(n).tolist()
    trained = (n + 1) // 2 if train else 0
    rest = order[trained:]
    middle = (len(rest) + 1) // 2
    return Halves(order[:trained], rest[:middle], rest[middle:])


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
            train=True).train`; None keeps the manifest's. A router that is kept sees none of
            the queries it was trained on again; other files are taken to hold other queries.
        early: also find when deferral is likely; None stops only where it is certain.
        seed: who is in which half, >= 0.

    Returns:
        The manifest as written. Where the goal is `WithinGoal` and nothing can be certified,
        the threshold defers every query, and `calibration.certified` is False.

    Raises:
        CalibrationError: the goal is out of range or cannot be reached, there is no such rule,
            answers are not judged, there are too few, or a score is not finite; it is not
            known whether a kept router was trained on these queries, or, where something is
            to be guaranteed, whether the answers are this artifact's. Nothing is written.
        ArtifactError: the manifest's router cannot be read.
        DataError: the folder cannot be written.
    """
    try:
        check_goal(goal)
        chosen = rule_named(rule) if isinstance(rule, str) else rule
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    chosen = chosen or artifact.rule
    guaranteed = isinstance(goal, WithinGoal) or early is not None
    if guaranteed and not answers.identified:
        raise CalibrationError(
            f"{answers.source}: does not say which program it was recorded with, so that nothing"
            " can be guaranteed; record it again"
        )
    # What a new router is trained on, or was if it is trained on these.
    training: RouterTraining | None
    training = now = RouterTraining(
        data_sha256=answers.sha256,
        seed=seed,
        asked=len(answers.logprobs) + answers.left_out,
        n=len(answers.logprobs),
    )
    if isinstance(chosen, Router) and not isinstance(rule, Router):
        training = artifact.manifest.deferral.router_training
        train = learned_from(answers.source, training, now, guaranteed=guaranteed)
    else:
        train = isinstance(chosen, Router)
    halves = halves_of(len(answers.logprobs), seed=seed, train=train)
    if not halves.fit or (early is not None and not halves.held_out):
        raise CalibrationError(f"{len(answers.logprobs)} queries are too few to divide")
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
        data=answers.source.name,
        data_sha256=answers.sha256,
        goal=goal,
        certified=certified,
        fit=on_fit,
        held_out=on_others,
        trained=len(halves.train),
        left_out=answers.left_out,
        seed=seed,
        date=utc_now(),
    )
    deferral = DeferralEntry(
        rule=chosen.name,
        router_training=training if isinstance(chosen, Router) else None,
        threshold=tau,
        calibration=entry,
        early=stop,
    )
    return _write(artifact, deferral, chosen, new_router=isinstance(rule, Router))


def learned_from(
    source: Path, kept: RouterTraining | None, now: RouterTraining, *, guaranteed: bool
) -> bool:
    """Whether a kept router was trained on the first half of these queries.

    Raises:
        CalibrationError: it was trained on others of this file, or nobody knows on which.
    """
    if kept is None:
        if guaranteed:
            raise CalibrationError(
                "the manifest does not say what its router was trained on, so that nothing can be"
                " guaranteed; train it again with --rule router"
            )
        return False
    if kept.data_sha256 != now.data_sha256:
        return False
    if kept != now:
        raise CalibrationError(
            f"{source}: the router was trained on queries of it that another division would use"
            f" again: take seed {kept.seed} and {kept.asked} queries, {kept.n} of them answered by"
            f" both models; here are seed {now.seed}, {now.asked} and {now.n}"
        )
    return True


def _measured(
    rule: DeferralRule, threshold: float, answers: ScoredQueries
) -> tuple[Measured, Responses]:
    """What a threshold does on queries."""
    responses = responses_of(rule, threshold, answers.logprobs, answers.longest)
    saved = tokens_saved(responses)
    scores = responses.scores.tolist()
    return measured(scores, threshold, answers.judged, tokens_saved=saved), responses


def _write(
    artifact: Artifact, deferral: DeferralEntry, rule: DeferralRule, *, new_router: bool
) -> Manifest:
    """Write the manifest, and a router with it: a reader sees all of the old or all of the new.

    Raises:
        CalibrationError: the folder is an installed version.
    """
    # Where a link leads may change meanwhile, and a link is not swapped like a folder.
    folder, manifest = artifact.folder.resolve(), artifact.manifest
    if folder.name == sha256_of(folder / MANIFEST_NAME):
        raise CalibrationError(
            f"{folder}: an installed version, known by its content; calibrate the artifact and"
            " install that, or calibrate a copy"
        )
    old = manifest.deferral.router
    if isinstance(rule, Router) and not new_router:
        deferral = msgspec.structs.replace(deferral, router=old)
    if not new_router and deferral.router == old:
        manifest = msgspec.structs.replace(manifest, deferral=deferral)
        write_manifest(folder, manifest)
        return manifest
    with atomic_folder(folder, marker=MANIFEST_NAME) as aside:
        for path in folder.iterdir():
            if path.name not in {old, MANIFEST_NAME} and not path.name.startswith("."):
                _link(path, aside / path.name)
        files = {name: entry for name, entry in manifest.files.items() if name != old}
        if isinstance(rule, Router):
            rule.save(aside / _ROUTER_FILE)
            files[_ROUTER_FILE] = file_entry(aside / _ROUTER_FILE)
            deferral = msgspec.structs.replace(deferral, router=_ROUTER_FILE)
        manifest = msgspec.structs.replace(manifest, deferral=deferral, files=files)
        write_manifest(aside, manifest)
    return manifest


def _link(old: Path, new: Path) -> None:
    """Give a file a second name; on a file system without such, a second copy."""
    try:
        new.hardlink_to(old)
    except OSError:
        shutil.copyfile(old, new)
