"""Where calibration's queries come from: the artifact's answers now, or a trace of them.

Knows no rule and no threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.edge.base import read_records, sha256_of, subsample
from escalade.edge.calibration.thresholds import Judged
from escalade.edge.deferral import mean_nll
from escalade.edge.errors import CalibrationError
from escalade.edge.generation import Artifact
from escalade.edge.journal import small_info
from escalade.edge.trace import ModelInfo, TraceRecord, read_trace

# A trace must name this artifact's program, and the artifact, asked again, must give most of its
# answers: on another machine kernels round otherwise, and a near tie may go the other way.
_ASKED_AGAIN = 8
_AGREE = 6
# As for golden prompts (artifact.py).
_SAME_NLL = 0.02


class Answers(NamedTuple):
    """The small model's answers to n queries, and who was right."""

    #: Log-probabilities of each whole response, `(N_i,)`, and how many tokens it might have had.
    logprobs: list[list[float]]
    longest: list[int]
    #: None where it is not known of every query.
    judged: Judged | None
    #: What they were read from.
    source: Path
    sha256: str
    #: The records of a trace, in the same order: what a router is trained on.
    records: list[TraceRecord]
    #: Queries without an answer of the large model, although it was asked.
    left_out: int = 0
    #: Whether they are known to be this artifact's: it was asked, or the trace names its program.
    identified: bool = True

    def subset(self, indices: Sequence[int]) -> Answers:
        """Some of the queries."""
        chosen = np.asarray(indices, dtype=np.intp)
        return self._replace(
            logprobs=[self.logprobs[index] for index in indices],
            longest=[self.longest[index] for index in indices],
            judged=self.judged and Judged(self.judged.small[chosen], self.judged.large[chosen]),
            records=[self.records[index] for index in indices] if self.records else [],
        )


def answers_to(
    artifact: Artifact,
    data: Path,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answers:
    """Ask the artifact every query of a file of records.

    Args:
        artifact: opened and verified.
        data: query records; their references are not looked at.
        limit: use that many records, evenly spread over the file; all if None.
        progress: called with (queries answered, queries in all).

    Raises:
        DataError: the records cannot be read.
        PromptError: a prompt does not fit the model; before anything is asked.
    """
    records = subsample(read_records(data), limit)
    encoded = [artifact.encode(record.prompt) for record in records]
    logprobs = []
    for done, prompt_ids in enumerate(encoded, start=1):
        logprobs.append([step.logprob for step in artifact.generate(prompt_ids)])
        progress(done, len(encoded))
    return Answers(
        logprobs=logprobs,
        longest=[artifact.room_for(prompt_ids) for prompt_ids in encoded],
        judged=None,
        source=data,
        sha256=sha256_of(data),
        records=[],
    )


def answers_in(
    artifact: Artifact, trace: Path, *, judged: bool, limit: int | None = None
) -> Answers:
    """Take the answers of a trace, after asking the artifact a few of its queries again.

    Args:
        artifact: the one that the trace was recorded with.
        trace: of `escalade record`.
        judged: whether it must say of both models' answers whether they are right.
        limit: use that many queries, evenly spread over the trace; all if None.

    Raises:
        DataError: the trace cannot be read.
        CalibrationError: it is another artifact's, or lacks what is asked for.
    """
    header, recorded = read_trace(trace)
    asked = subsample(recorded, limit)
    for record in asked:
        if record.small.stopped_early or not record.small.logprobs:
            raise CalibrationError(
                f"{trace}: the device's answer to {record.id!r} was not finished; use a trace of"
                " `escalade record`"
            )
    _check_same(artifact, trace, header.small, asked)
    records = fair_sample(trace, asked) if judged else asked
    small = [record.small.correct for record in records]
    large = [record.large.correct if record.large is not None else None for record in records]
    known = None not in (*small, *large)
    if judged and not known:
        raise CalibrationError(
            f"{trace}: a record lacks references, so that it is not known which answers are right"
        )
    window, longest = artifact.manifest.model.window, artifact.manifest.model.max_new_tokens
    return Answers(
        logprobs=[record.small.logprobs for record in records],
        longest=[
            max(min(longest, window - record.small.prompt_tokens), len(record.small.logprobs))
            for record in records
        ],
        judged=Judged(np.array(small), np.array(large)) if known else None,
        source=trace,
        sha256=sha256_of(trace),
        records=records,
        left_out=len(asked) - len(records),
        identified=header.small.program_sha256 is not None,
    )


def fair_sample(trace: Path, records: Sequence[TraceRecord]) -> list[TraceRecord]:
    """The queries that the large model answered, where it was asked all of them.

    Raises:
        CalibrationError: it was not, or it answered none.
    """
    never = sum(record.large is None and record.reason is None for record in records)
    if never:
        # `ask` leaves such a trace: only what it deferred has an answer, the hard ones.
        raise CalibrationError(
            f"{trace}: the large model was never asked {never} of {len(records)} queries, so"
            " that those it was asked are no fair sample; use a trace of `escalade record`"
        )
    answered = [record for record in records if record.large is not None]
    if not answered:
        raise CalibrationError(f"{trace}: the large model answered no query")
    return answered


def _check_same(
    artifact: Artifact, trace: Path, small: ModelInfo, records: Sequence[TraceRecord]
) -> None:
    ours = small_info(artifact.manifest).program_sha256
    if small.program_sha256 not in (None, ours):
        raise CalibrationError(
            f"{trace}: recorded with another artifact than {artifact.folder}: program"
            f" {str(small.program_sha256)[:12]}, not {str(ours)[:12]}; a threshold holds for the"
            " artifact whose scores set it"
        )
    asked = subsample(records, _ASKED_AGAIN)
    agree = sum(_gives(artifact, record) for record in asked)
    if agree * _ASKED_AGAIN < _AGREE * len(asked):
        raise CalibrationError(
            f"{trace}: recorded with another artifact: {artifact.folder} gives {agree} of"
            f" {len(asked)} of its answers; a threshold holds for the artifact whose scores set it"
        )


def _gives(artifact: Artifact, record: TraceRecord) -> bool:
    steps = artifact.generate(artifact.encode(record.prompt))
    text = artifact.decode([step.token_id for step in steps if not step.ended])
    logprobs = [step.logprob for step in steps]
    return (
        text == record.small.text
        and len(logprobs) == len(record.small.logprobs)
        and abs(mean_nll(logprobs) - mean_nll(record.small.logprobs)) <= _SAME_NLL
    )
