"""Where calibration's queries come from: the artifact's answers now, or a trace of them.

Knows no rule and no threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.edge.artifact import program_digest
from escalade.edge.base import naming, read_record_file, subsample
from escalade.edge.calibration.thresholds import Judged
from escalade.edge.deferral import mean_nll
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact
from escalade.edge.policy import is_of_policy
from escalade.edge.runtimes import Draw
from escalade.edge.trace import MemberAnswer, MemberInfo, TraceRecord, read_trace

# A trace must name this artifact's program, and the artifact, asked again, must give most of its
# answers: on another machine kernels round otherwise, and a near tie may go the other way.
_ASKED_AGAIN = 8
_AGREE = 6


class ScoredQueries(NamedTuple):
    """The small model's answers to n queries, and who was right."""

    #: Log-probabilities of each whole response, `(N_i,)`, and how many tokens it might have had.
    logprobs: list[list[float]]
    longest: list[int]
    #: None where it is not known of every query.
    judged: Judged | None
    prompts: list[str]
    #: What they were read from.
    source: Path
    sha256: str
    #: The records of a trace, in the same order: what a router is trained on.
    records: list[TraceRecord]
    #: Queries without an answer of the large model, although it was asked.
    left_out: int = 0
    #: Whether they are known to be this artifact's: it was asked, or the trace names its program.
    identified: bool = True

    def subset(self, indices: Sequence[int]) -> ScoredQueries:
        """Some of the queries."""
        chosen = np.asarray(indices, dtype=np.intp)
        return self._replace(
            logprobs=[self.logprobs[index] for index in indices],
            longest=[self.longest[index] for index in indices],
            judged=self.judged and Judged(self.judged.small[chosen], self.judged.large[chosen]),
            prompts=[self.prompts[index] for index in indices],
            records=[self.records[index] for index in indices] if self.records else [],
        )


def answers_to(
    artifact: Artifact,
    data: Path,
    *,
    limit: int | None = None,
    judged: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ScoredQueries:
    """Ask the artifact every query of a file of records.

    Args:
        artifact: opened and verified.
        data: query records; their references are not looked at, unless `judged`.
        limit: use that many records, evenly spread over the file; all if None.
        judged: the references are what the large model said, which is right by that; the
            artifact is where it says one of them.
        progress: called with (queries answered, queries in all).

    Raises:
        DataError: the records cannot be read.
        PromptError: a prompt does not fit the model (the message names its record); before
            anything is asked.
        CalibrationError: a record lacks the references to judge by.
    """
    file = read_record_file(data)
    records = subsample(file.records, limit)
    for record in records:
        if judged and not record.references:
            raise CalibrationError(f"{file.where(record)}: no references to judge by")
    encoded = []
    for record in records:
        with naming(file.where(record)):
            encoded.append(artifact.encode(record.prompt))
    logprobs, right = [], []
    for done, (record, prompt_ids) in enumerate(zip(records, encoded, strict=True), start=1):
        steps = artifact.generate(prompt_ids)
        logprobs.append([step.logprob for step in steps])
        right.append(judged and artifact.text_of(steps) in record.references)
        progress(done, len(encoded))
    small = np.array(right, dtype=np.bool_)
    return ScoredQueries(
        logprobs=logprobs,
        longest=[artifact.room_for(prompt_ids) for prompt_ids in encoded],
        judged=Judged(small, np.ones_like(small)) if judged else None,
        prompts=[record.prompt for record in records],
        source=data,
        sha256=file.sha256,
        records=[],
    )


def answers_in(
    artifact: Artifact, trace: Path, *, judged: bool, limit: int | None = None
) -> ScoredQueries:
    """Take the answers of a trace, after asking the artifact a few of its queries again.

    Args:
        artifact: the one that the trace was recorded with: its first tier, alone. The large
            model is the next tier, whoever that is.
        trace: of `escalade record`.
        judged: whether it must say of both models' answers whether they are right.
        limit: use that many queries, evenly spread over the trace; all if None.

    Raises:
        DataError: the trace cannot be read.
        CalibrationError: it is another artifact's, or lacks what is asked for.
    """
    digest = hashlib.sha256()
    header, recorded = read_trace(trace, digest)
    if len(header.tiers[0].members) != 1:
        raise CalibrationError(
            f"{trace}: its first tier has {len(header.tiers[0].members)} members; calibrate the"
            " cascade.toml that it was recorded with"
        )
    asked = subsample(recorded, limit)
    said = [_first_member(trace, record) for record in asked]
    who = header.tiers[0].members[0]
    prompts = [record.prompt for record in asked]
    check_same(artifact, trace, who, list(zip(prompts, said, strict=True)))
    records = fair_sample(trace, asked, ("the device", "the large model")) if judged else asked
    said = [_first_member(trace, record) for record in records]
    right = [[tier and tier.correct for tier in record.tiers[:2]] for record in records]
    known = all(len(one) > 1 and None not in one for one in right)
    if judged and not known:
        raise without_references(trace)
    window, longest = artifact.manifest.model.window, artifact.manifest.model.max_new_tokens
    return ScoredQueries(
        logprobs=[one.logprobs for one in said],
        longest=[max(min(longest, window - one.prompt_tokens), len(one.logprobs)) for one in said],
        judged=Judged(*np.array(right, dtype=np.bool_).T) if known else None,
        prompts=[record.prompt for record in records],
        source=trace,
        sha256=digest.hexdigest(),
        records=records,
        left_out=len(asked) - len(records),
        identified=who.program_sha256 is not None,
    )


def fair_sample(
    trace: Path, records: Sequence[TraceRecord], tiers: Sequence[str]
) -> list[TraceRecord]:
    """The queries that every tier answered, where each was asked all of them.

    Args:
        trace: where the records are from.
        records: n >= 1 of them.
        tiers: what messages call them, from the first on; the trace may have more.

    Raises:
        CalibrationError: one was not asked all, or they answered none.
    """
    for place, tier in enumerate(tiers):
        silent = [one for one in records if place >= len(one.tiers) or one.tiers[place] is None]
        kept = sum(is_of_policy(one.reason) for one in silent)
        if kept:
            raise CalibrationError(
                f"{trace}: a policy kept {kept} of {len(records)} queries from {tier} while it was"
                " recorded, so that those it was asked are no fair sample; record it with"
                ' [policy] taken out, or send = "allow"'
            )
        never = sum(one.reason is None for one in silent)
        if never:
            # `ask` leaves such a trace: only what was deferred has an answer, the hard queries.
            raise CalibrationError(
                f"{trace}: {tier} was never asked {never} of {len(records)} queries, so that those"
                " it was asked are no fair sample; use a trace of `escalade record`"
            )
        if len(silent) == len(records):
            raise CalibrationError(f"{trace}: {tier} answered no query")
    answered = [one for one in records if None not in one.tiers[: len(tiers)]]
    if not answered:
        raise CalibrationError(f"{trace}: no query was answered by every tier")
    return answered


def check_same(
    artifact: Artifact,
    trace: Path,
    member: MemberInfo,
    said: Sequence[tuple[str, MemberAnswer]],
    draw: Draw | None = None,
) -> None:
    """Hold an artifact against what a trace says of it.

    Args:
        artifact: asked a few of the prompts again.
        trace: where `member` and `said` are from.
        member: who answered; one without a digest may be any.
        said: prompts and its answers, n >= 1.
        draw: how they were drawn; None of the likeliest tokens.

    Raises:
        CalibrationError: another program answered.
    """
    ours = program_digest(artifact.manifest)
    if member.program_sha256 not in (None, ours):
        raise CalibrationError(
            f"{trace}: recorded with another artifact than {artifact.folder}: program"
            f" {str(member.program_sha256)[:12]}, not {ours[:12]}; a threshold holds for the"
            " artifact whose scores set it"
        )
    asked = subsample(said, _ASKED_AGAIN)
    agree = sum(_gives(artifact, prompt, answer, draw) for prompt, answer in asked)
    if agree * _ASKED_AGAIN < _AGREE * len(asked):
        raise CalibrationError(
            f"{trace}: recorded with another artifact: {artifact.folder} gives {agree} of"
            f" {len(asked)} of its answers; a threshold holds for the artifact whose scores set it"
        )


def unfinished(trace: Path, record: TraceRecord, answer: str) -> CalibrationError:
    """What is wrong with an answer that ended early."""
    return CalibrationError(
        f"{trace}: {answer} to {record.id!r} was not finished; use a trace of `escalade record`"
    )


def without_references(trace: Path) -> CalibrationError:
    """What is wrong with a trace that cannot be judged by."""
    return CalibrationError(
        f"{trace}: a record lacks references, so that it is not known which answers are right"
    )


def _first_member(trace: Path, record: TraceRecord) -> MemberAnswer:
    answer = record.tiers[0]
    if answer is None or answer.stopped_early or not answer.members[0].logprobs:
        raise unfinished(trace, record, "the device's answer")
    return answer.members[0]


def _gives(artifact: Artifact, prompt: str, answer: MemberAnswer, draw: Draw | None) -> bool:
    ids = artifact.encode(prompt)
    steps = artifact.generate(ids, sampling=None if draw is None else draw.of(None, ids))
    logprobs = [step.logprob for step in steps]
    return (
        artifact.text_of(steps) == answer.text
        and len(logprobs) == len(answer.logprobs)
        and abs(mean_nll(logprobs) - mean_nll(answer.logprobs)) <= artifact.nll_tolerance
    )
