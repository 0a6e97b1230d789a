"""Calibrates an ensemble: the share of votes at which a query is deferred; knows no network."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.edge.answer import is_correct
from escalade.edge.base import read_records, sha256_of, subsample
from escalade.edge.calibration.calibration import halves_of
from escalade.edge.calibration.data import fair_sample
from escalade.edge.calibration.thresholds import Judged, measured, threshold_for
from escalade.edge.deferral import CalibrationEntry, Goal, Measured, WithinGoal, check_goal
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact
from escalade.edge.tiers import Ensemble, EnsembleFile, check_members, is_decided, vote_share
from escalade.edge.trace import read_trace


class Ballots(NamedTuple):
    """What every member answered to n queries."""

    #: `(n, K)` texts and tokens.
    answers: list[list[str]]
    tokens: list[list[int]]
    #: Of the vote of all members; None where it is not known.
    judged: Judged | None
    source: Path
    left_out: int = 0


def ballots_for(
    members: Sequence[Artifact],
    path: Path,
    *,
    is_trace: bool,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ballots:
    """Ask every member every query.

    Args:
        members: K >= 1.
        path: query records, or a trace; of a trace the prompts, the references and whether the
            large model was right are taken, not what its small model said.
        is_trace: which of the two.
        limit: use that many queries, evenly spread over the file; all if None.
        progress: called with (queries answered by all members, queries in all).

    Raises:
        DataError: the file cannot be read.
        CalibrationError: a member is there twice, a trace's large model was not asked, or
            references lack.
        PromptError: a prompt does not fit a member; before anything is asked.
    """
    try:
        check_members(members)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    large: list[bool | None] = []
    left_out = 0
    if is_trace:
        recorded = subsample(read_trace(path).records, limit)
        usable = fair_sample(path, recorded)
        left_out = len(recorded) - len(usable)
        large = [record.large.correct if record.large is not None else None for record in usable]
        queries = [(record.prompt, record.references) for record in usable]
        if None in large:
            raise CalibrationError(
                f"{path}: a record lacks references, so that it is not known which answers are"
                " right"
            )
    else:
        queries = [(one.prompt, one.references) for one in subsample(read_records(path), limit)]
    encoded = [[member.encode(prompt) for member in members] for prompt, _ in queries]
    answers, tokens = [], []
    for done, row in enumerate(encoded, start=1):
        steps = [member.generate(ids) for member, ids in zip(members, row, strict=True)]
        answers.append(
            [
                member.decode([step.token_id for step in one if not step.ended])
                for member, one in zip(members, steps, strict=True)
            ]
        )
        tokens.append([len(one) for one in steps])
        progress(done, len(encoded))
    judged = None
    if is_trace:
        small = [
            is_correct(vote_share(row).text, references)
            for row, (_, references) in zip(answers, queries, strict=True)
        ]
        judged = Judged(np.array(small, dtype=np.bool_), np.array(large, dtype=np.bool_))
    return Ballots(answers, tokens, judged, path, left_out)


def calibrate_ensemble(
    members: Sequence[Artifact], ballots: Ballots, goal: Goal, out: Path, *, seed: int = 1
) -> EnsembleFile:
    """Set the threshold of an ensemble from its own votes, and write its file.

    Args:
        members: in the order they are asked.
        ballots: theirs.
        goal: what the threshold is for. Scores are multiples of 1 / K: few rates can be had.
        out: the file.
        seed: who is in which half, >= 0.

    Returns:
        The file as written. Where the goal is `WithinGoal` and nothing can be certified, the
        threshold defers every query, and `calibration.certified` is False.

    Raises:
        CalibrationError: see `escalade.edge.calibration.calibration`.
        DataError: the file cannot be written.
    """
    try:
        check_goal(goal)
        check_members(members)
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    halves = halves_of(len(ballots.answers), seed=seed)
    scores = [vote_share(row).score for row in ballots.answers]
    found = threshold_for(
        goal, [scores[index] for index in halves.fit], _some(ballots.judged, halves.fit)
    )
    ensemble = Ensemble(members, 0.0 if found is None else found)  # no vote scores below 0

    def of(part: list[int]) -> Measured:
        return measured(
            [scores[index] for index in part],
            ensemble.threshold,
            _some(ballots.judged, part),
            tokens_saved=_saved(ensemble, ballots, part),
        )

    entry = CalibrationEntry(
        data=ballots.source.name,
        data_sha256=sha256_of(ballots.source),
        goal=goal,
        certified=found is not None if isinstance(goal, WithinGoal) else None,
        fit=of(halves.fit),
        held_out=of(halves.held_out) if halves.held_out else None,
        left_out=ballots.left_out,
        seed=seed,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    return ensemble.save(out, entry)


def _some(judged: Judged | None, part: list[int]) -> Judged | None:
    return judged and Judged(judged.small[part], judged.large[part])


def _saved(ensemble: Ensemble, ballots: Ballots, part: list[int]) -> float:
    """The share of the members' tokens that asking no more than it takes saves."""
    spent = total = 0
    for index in part:
        answers, tokens = ballots.answers[index], ballots.tokens[index]
        k = len(answers)
        asked = next(n + 1 for n in range(k) if is_decided(answers[: n + 1], k, ensemble.threshold))
        spent += sum(tokens[:asked])
        total += sum(tokens)
    return 1.0 - spent / total
