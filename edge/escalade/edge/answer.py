"""How a query ended, and the line it makes in a trace; knows no model, no network."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.base import Record
from escalade.edge.generation import StopReason
from escalade.edge.trace import Outcome, Place, TierAnswer, TraceRecord


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How one query ended."""

    text: str
    outcome: Outcome
    #: The tier whose answer this is: its place in the cascade, its name, and where it runs.
    answered_by: int
    tier: str
    place: Place
    #: What each tier said; None of one that was not asked or did not answer.
    tiers: Sequence[TierAnswer | None]
    #: r(x) of the last gate that the query came to; of a response that was stopped early the bound
    #: it will not come below. None where it came to no gate.
    score: float | None
    #: The tau it was held against; None: not calibrated.
    threshold: float | None
    #: The deferral rule that gave the score; None as there.
    rule: str | None = None
    #: Whether that gate sends the query on: what another tier would have been asked for.
    would_defer: bool
    #: Why the response ended.
    stop: StopReason
    total_s: float
    #: Why a tier that was due did not answer.
    reason: str | None
    #: What the query was to the first model that read it.
    prompt: str
    #: Why the query's record is not in the client's trace, where it could not be written.
    trace_error: str | None = None
    #: The rule of this device's policy that kept the query here, where one did (`REASONS`).
    blocked: str | None = None
    #: Its id in the client's outbox, where a better answer may come later.
    kept: str | None = None
    #: Why it is not in the outbox, where it should be.
    outbox_error: str | None = None

    @property
    def said(self) -> TierAnswer:
        """What the tier said whose answer this is."""
        answer = self.tiers[self.answered_by]
        assert answer is not None  # noqa: S101 - or it could not stand
        return answer

    @property
    def given_at(self) -> Place:
        """Where the model runs that gave the answer, behind a gateway too."""
        gave = [hop.place for hop in self.said.hops if not hop.reason]
        return gave[-1] if gave else self.place

    def as_record(self, record: Record) -> TraceRecord:
        """The line that a query and its answer make in a trace."""
        return TraceRecord(
            id=record.id,
            task=record.task,
            prompt=record.prompt,
            references=record.references,
            tiers=list(self.tiers),
            answered_by=self.answered_by,
            outcome=self.outcome,
            total_s=self.total_s,
            reason=self.reason,
        )
