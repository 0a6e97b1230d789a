"""The edge client: answer, score, decide, defer, remember; knows no simulator, no torch.

Every query ends in exactly one of four ways: answered by the first tier, deferred and answered
by a later one, degraded (a later tier was due and did not answer: the best answer so far stands),
or refused (`PromptError`, before any work). The first three are an `Outcome` and leave a trace
record. A query that the caller cancels leaves nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from escalade.edge.answer import Answer
from escalade.edge.base import Record
from escalade.edge.cascade import Cascade
from escalade.edge.errors import OutboxError
from escalade.edge.journal import Journal
from escalade.edge.late import Flushed, flush
from escalade.edge.opening import OpenOptions, open_cascade
from escalade.edge.outbox import Entry, Outbox
from escalade.edge.run import Run
from escalade.edge.tiers import Call, Prompt, Prompts, Query, Said, query_of
from escalade.edge.trace import TierAnswer, TraceHeader, TraceRecord


class EdgeClient:
    """A cascade, ready to be asked.

    Example:
        >>> with EdgeClient.open(Path("artifact"), cloud="127.0.0.1:50051") as client:
        ...     print(client.ask("g2p: cascade").text)
    """

    def __init__(self, cascade: Cascade, *, trace: Path | None = None) -> None:
        """Take a cascade.

        Args:
            cascade: its tiers, opened.
            trace: every query that is answered adds its record to this file.

        Raises:
            CalibrationError: there is a trace to write and no threshold.
            DataError: the trace file is something else, or another cascade's.
            OutboxError: the cascade's outbox cannot be opened.
        """
        self.cascade = cascade
        self._journal = None if trace is None else Journal(cascade, trace)
        #: Queries that a tier out of reach is to answer later; None where none are kept.
        self.outbox = None if cascade.outbox is None else Outbox(cascade.outbox)

    @classmethod
    def open(
        cls,
        path: Path,
        options: OpenOptions | None = None,
        *,
        cloud: str | None = None,
        trace: Path | None = None,
        calibrated: bool = True,
    ) -> EdgeClient:
        """Open an artifact folder or a `cascade.toml`.

        Args:
            path: an artifact is a cascade of one tier, or of two with `cloud`.
            options: see `OpenOptions`.
            cloud: `HOST:PORT` of a server; the last tier above an artifact.
            trace: see the class.
            calibrated: see `open_cascade`; without, queries are asked in shadow mode alone.

        Raises:
            EdgeError: see `open_cascade`, and the class.
        """
        cascade = open_cascade(path, options or OpenOptions(), cloud=cloud, calibrated=calibrated)
        try:
            return cls(cascade, trace=trace)
        except BaseException:
            cascade.close()
            raise

    def ask(self, prompt: Prompt, *, shadow: bool = False) -> Answer:
        """Answer one query, and remember it where the client was opened with a trace.

        Args:
            prompt: a text, a conversation for the models' chat templates, or a whole `Query`.
            shadow: ask every tier, whatever the scores say; the decision stays.

        Raises:
            PromptError: the prompt is empty or longer than the window, or the template
                refuses the conversation.
            ArtifactError: there is no chat template, or it is at fault.
            CloudError: no tier runs on this device, and none answered.
        """
        return _whole(self.stream(prompt, shadow=shadow))

    def stream(
        self,
        prompt: Prompt,
        *,
        shadow: bool = False,
        cancelled: Callable[[], bool] | None = None,
        told: Callable[[int, Said], None] | None = None,
    ) -> Run:
        """As `ask`, delta by delta: iterate, then look at `Run.answer`.

        Args:
            prompt: see `ask`.
            shadow: see `ask`.
            cancelled: asked between tokens and between chunks of the prompt. A query that is
                cancelled has no answer and leaves no record.
            told: see `Run`.
        """
        query, journal = query_of(prompt), self._journal
        if self.outbox is not None and not query.request_id:
            # Before it is sent for the first time: a server that has it already computes it once.
            query = replace(query, request_id=uuid.uuid4().hex)
        return Run(
            self.cascade,
            query,
            shadow=shadow,
            cancelled=cancelled,
            told=told,
            keep=None if self.outbox is None or shadow else self.outbox.add,
            remember=None if journal is None else lambda answer: journal.add(answer, query),
        )

    def flush(self, deliver: Callable[[Entry], None]) -> Flushed:
        """Ask again what is in the outbox, and hand out the answers that came.

        Args:
            deliver: called with each query that is answered, or refused for good. Then it is out of
                the outbox; where the process dies before `deliver` returns it comes again.

        Raises:
            OutboxError: there is no outbox, or it cannot be read or written.
        """
        if self.outbox is None:
            raise OutboxError("this cascade keeps no queries: set on_outage = 'queue'")
        return flush(self.cascade, self.outbox, deliver)

    def ask_last(self, prompt: Prompt) -> TierAnswer:
        """Ask the last tier alone, as a device without a model of its own would.

        Raises:
            PromptError: see `ask`.
            CloudError: it refused, or did not answer.
        """
        query = query_of(prompt)
        clock = self.cascade.clock
        began_s = clock.now_s()
        call = Call(
            query=query,
            prompts=Prompts(query),
            gate=None,
            can_defer=False,
            elapsed_s=lambda: clock.now_s() - began_s,
            now_s=clock.now_s,
        )
        saying = self.cascade.tiers[-1].ask(call)
        while True:
            try:
                next(saying)
            except StopIteration as end:
                return end.value.answer  # type: ignore[no-any-return]

    def trace_record(self, record: Record, *, shadow: bool = False) -> TraceRecord:
        """Ask a query record and remember all of it, but not in this client's own trace.

        With `shadow` that is what members take live too, with the drafts that they then read.
        """
        query = Query(text=record.prompt, task=record.task, references=tuple(record.references))
        return _whole(Run(self.cascade, query, shadow=shadow, rehearse=shadow)).as_record(record)

    def trace_header(self) -> TraceHeader:
        """The first line of this client's traces.

        Raises:
            CloudError: a tier elsewhere does not say who it is.
        """
        return self.cascade.header()

    def close(self) -> None:
        """Close every tier's channel, the trace and the outbox."""
        self.cascade.close()
        if self._journal is not None:
            self._journal.close()
        if self.outbox is not None:
            self.outbox.close()

    def __enter__(self) -> EdgeClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _whole(run: Run) -> Answer:
    answer = run.finish()
    assert answer is not None  # noqa: S101 - nobody could cancel it
    return answer
