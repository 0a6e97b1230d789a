"""A client's trace: its header, and a record for each query; knows no prompt, no network."""

from __future__ import annotations

import uuid
from functools import partial
from pathlib import Path

from escalade.edge.answer import Answer
from escalade.edge.base import Record
from escalade.edge.cascade import Cascade, not_calibrated
from escalade.edge.errors import CascadeError, DataError
from escalade.edge.tiers import Query
from escalade.edge.trace import TraceAppender


class Journal:
    """Adds what a client answers to a trace."""

    def __init__(self, cascade: Cascade, path: Path) -> None:
        """Look at what is there; see `TraceAppender`.

        Raises:
            CalibrationError: there is no threshold.
            DataError: the trace file is something else, or another cascade's.
        """
        gate = cascade.gates[0]
        if gate is not None and gate.threshold is None:
            raise not_calibrated(f"tier {cascade.tiers[0].name!r}")
        self._cascade = cascade
        self._trace = TraceAppender(path, cascade.header(known_only=True))

    def add(self, answer: Answer, query: Query) -> None:
        """Remember how a query ended.

        Args:
            answer: its end.
            query: whose task and references the record has.

        Raises:
            DataError: the record cannot be written.
        """
        asked = Record(
            id=uuid.uuid4().hex,
            task=query.task,
            prompt=answer.prompt,
            references=list(query.references),
        )
        try:
            # Where the policy kept a query here, nobody elsewhere is asked who they are.
            header = partial(self._cascade.header, known_only=True)
            if answer.blocked is None:
                header = partial(self._cascade.header_if_known)
            self._trace.append(header, answer.as_record(asked))
        except CascadeError as error:  # members elsewhere have turned out to be one model
            raise DataError(f"no record was added: {error}") from error

    def close(self) -> None:
        """Add the records that wait; see `TraceAppender.close`."""
        self._trace.close()
