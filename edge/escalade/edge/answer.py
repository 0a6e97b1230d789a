"""How a query ended, and the line it makes in a trace; knows no model, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from escalade.edge.base import Record
from escalade.edge.generation import StopReason
from escalade.edge.trace import LargeAnswer, Outcome, SmallAnswer, TraceRecord


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one query ended."""

    text: str
    outcome: Outcome
    #: r(x) under the rule; of a response that was stopped early the bound it will not come below.
    score: float
    #: The tau it was held against; None: not calibrated.
    threshold: float | None
    #: r(x) >= tau, or likely to be: what a cloud would have been asked for.
    would_defer: bool
    small: SmallAnswer
    #: Why the small model's response ended.
    stop: StopReason
    large: LargeAnswer | None
    total_s: float
    #: Why the cloud did not answer, where it was asked and did not.
    reason: str | None
    #: Of an ensemble: what its members said, by how many, the first first.
    votes: dict[str, int] | None = None
    #: Why the query's record is not in the client's trace, where it could not be written.
    trace_error: str | None = None

    @property
    def answered_by(self) -> Literal["small", "large"]:
        """Whose text this is."""
        return "large" if self.outcome == "deferred" else "small"

    def as_record(self, record: Record) -> TraceRecord:
        """The line that a query and its answer make in a trace."""
        return TraceRecord(
            id=record.id,
            task=record.task,
            prompt=record.prompt,
            references=record.references,
            small=self.small,
            large=self.large,
            score=self.score,
            outcome=self.outcome,
            total_s=self.total_s,
            reason=self.reason,
        )


def is_correct(text: str, references: Sequence[str]) -> bool | None:
    """Whether the text is among the references; None where there are none."""
    return text in references if references else None
