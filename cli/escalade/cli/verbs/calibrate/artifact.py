"""The rule and threshold of one artifact, which is asked or whose trace is read; knows no gate."""

from __future__ import annotations

from pathlib import Path

from escalade.cli.errors import CliError
from escalade.cli.lines import UNCHECKED
from escalade.cli.output import harmless, note_console, print_json, progress_bar, result_console
from escalade.cli.verbs.inspect import deferral_lines
from escalade.edge.artifact import SIGNATURE_NAME
from escalade.edge.base import counted
from escalade.edge.calibration import (
    EarlyGoal,
    ScoredQueries,
    answers_in,
    answers_to,
    check_asked,
    halves_of,
)
from escalade.edge.calibration import calibrate as calibrate_artifact
from escalade.edge.deferral import ROUTER, DeferralEntry, Goal, KernelsChoice, RateGoal, Router
from escalade.edge.generation import Artifact, open_with_kernels


def opened(folder: Path, trusted_key: Path | None, kernels: KernelsChoice | None) -> Artifact:
    """The artifact; what other kernels change of its golden answers is said."""
    if kernels is None:
        return Artifact.open(folder, trusted_key=trusted_key)
    artifact, same = open_with_kernels(folder, kernels, trusted_key=trusted_key)
    golden = len(artifact.manifest.golden)
    asked = counted(golden, "golden answer")
    said = f"{folder}: {kernels} kernels leave {same} of {asked} as they were"
    note_console().print(harmless(said))
    return artifact


def calibrated(
    artifact: Artifact,
    source: Path,
    is_trace: bool,
    goal: Goal,
    rule: str | None,
    early: tuple[float, float] | None,
    limit: int | None,
    seed: int,
) -> DeferralEntry:
    """Calibrate one artifact.

    Args:
        artifact: is asked, where `source` is no trace.
        source: records, or a trace of this artifact.
        is_trace: which of them.
        goal: of the threshold.
        rule: a router is trained first; None keeps the manifest's.
        early: see `EarlyGoal`; None leaves early deferral as it is.
        limit: of queries.
        seed: of what is drawn.
    """
    learned = rule == ROUTER
    if learned and not is_trace:
        raise CliError("a router is trained on a --trace")
    stop = None if early is None else EarlyGoal(*early)
    check_asked(goal, None if learned else rule, stop)
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
        early=stop,
        seed=seed,
    ).deferral


def show(folder: Path, entry: DeferralEntry, *, json: bool) -> None:
    """Say what an artifact has from now on."""
    if (signature := folder / SIGNATURE_NAME).exists():
        note_console().print(f"{signature} is of the manifest as it was; sign it again")
    if entry.calibration is not None and entry.calibration.held_out is None:
        note_console().print(UNCHECKED)
    if json:
        print_json(entry)
        return
    for line in deferral_lines(entry):
        result_console().print(line)


def _trained(answers: ScoredQueries, seed: int) -> Router:
    """A router that has learned from queries that neither set the threshold nor check it."""
    from escalade.training.router import train_router  # a device has none

    chosen = halves_of(len(answers.records), seed=seed, train=True).train
    records = [answers.records[index] for index in chosen]
    with progress_bar("training the router") as tick:
        return train_router(records, seed=seed, progress=tick).router
