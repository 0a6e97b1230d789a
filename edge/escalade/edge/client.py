"""The edge client: answer, score, decide, defer, remember; knows no simulator, no torch.

Every query ends in exactly one of four ways: answered by the small model, deferred and
answered by the large one, degraded (deferred, but the cloud did not answer: the small
model's own answer stands), or refused (`PromptError`, before any work). The first three
are an `Outcome` and leave a trace record. A query that the caller cancels leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from escalade.edge.answer import Answer
from escalade.edge.base import Record
from escalade.edge.cascade import Cascade, Early
from escalade.edge.chat import ChatPrompt, Message
from escalade.edge.errors import CloudError
from escalade.edge.generation import Artifact
from escalade.edge.journal import Journal, trace_header
from escalade.edge.runtimes import Sampling
from escalade.edge.trace import LargeAnswer, TraceHeader, TraceRecord
from escalade.edge.turn import Turn
from escalade.edge.wire import Clock, CloudClient, PromptForm, Query

#: A prompt, or the messages of a conversation.
Prompt = str | Sequence[Message]


class EdgeClient:
    """A small model on the device with a large one behind it.

    Example:
        >>> with EdgeClient.open(Path("artifact"), cloud="127.0.0.1:50051") as client:
        ...     print(client.ask("g2p: cascade").text)
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        cloud: CloudClient | None = None,
        threshold: float | None = None,
        prompt_form: PromptForm = "tokens",
        early: Early = "off",
        trace: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Put an artifact and a cloud together.

        Args:
            artifact: opened and verified.
            cloud: the large model; None answers everything locally.
            threshold: tau; None takes the manifest's.
            prompt_form: send token ids (both models share a tokenizer) or text.
            early: when generation may end before the response does, see `escalade.edge.turn`;
                "likely" needs an artifact calibrated for it, and its own threshold.
            trace: every query that is answered adds its record to this file.
            clock: see `Clock`.

        Raises:
            CalibrationError: there is a cloud to defer to or a trace to write, but no
                threshold, or the threshold is not finite; or nothing says what is likely.
            DataError: the trace file is something else, or another client's.
        """
        self._cascade = Cascade.of(
            artifact,
            cloud,
            threshold=threshold,
            prompt_form=prompt_form,
            early=early,
            clock=clock,
        )
        self.artifact = artifact
        self.rule = self._cascade.rule.name
        self.threshold = self._cascade.threshold
        self._journal = None if trace is None else Journal(self._cascade, trace)

    @classmethod
    def open(
        cls,
        artifact: Path,
        *,
        cloud: str | None = None,
        threshold: float | None = None,
        deadline_s: float = 10.0,
        prompt_form: PromptForm = "tokens",
        early: Early = "off",
        trace: Path | None = None,
        threads: int = 0,
        max_memory: int | None = None,
        trusted_key: Path | None = None,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
    ) -> EdgeClient:
        """Open an artifact folder and, with `cloud` as `HOST:PORT`, a channel.

        See `Artifact.open`, `CloudClient` and the class for the arguments and errors.
        """
        opened = Artifact.open(
            artifact, threads=threads, max_memory=max_memory, trusted_key=trusted_key
        )
        client = (
            CloudClient(cloud, deadline_s=deadline_s, ca_cert=ca_cert, plaintext=plaintext)
            if cloud is not None
            else None
        )
        return cls(
            opened,
            cloud=client,
            threshold=threshold,
            prompt_form=prompt_form,
            early=early,
            trace=trace,
        )

    def ask(
        self,
        prompt: Prompt,
        *,
        references: Sequence[str] = (),
        shadow: bool = False,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] = (),
    ) -> Answer:
        """Answer one query, and remember it where the client was opened with a trace.

        Args:
            prompt: as the user typed it, or a conversation for the model's chat template.
            references: responses that count as correct, for the trace.
            shadow: ask the cloud too, whatever the score says; the decision stays.
            sampling: of the small model; None takes the likeliest tokens, of which the
                threshold was calibrated.
            stop: texts that end the answer before them.

        Raises:
            PromptError: the prompt is empty or longer than the window, or the template
                refuses the conversation.
            ArtifactError: there is no chat template, or it is at fault.
            ValueError: a stop sequence is empty.
        """
        turn = self.stream(
            prompt, references=references, shadow=shadow, sampling=sampling, stop=stop
        )
        return _answer_of(turn)

    def stream(
        self,
        prompt: Prompt,
        *,
        references: Sequence[str] = (),
        shadow: bool = False,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] = (),
        cancelled: Callable[[], bool] | None = None,
    ) -> Turn:
        """As `ask`, piece by piece: iterate, then look at `Turn.answer`.

        The pieces are the device's own answer. Whether it stands is known at the end.

        Args:
            prompt: and the others: see `ask`.
            references: see `ask`.
            shadow: see `ask`.
            sampling: see `ask`.
            stop: see `ask`.
            cancelled: asked between tokens and between chunks of the prompt. A query that is
                cancelled has no answer and leaves no record.

        Raises:
            PromptError: and the others: see `ask`.
        """
        started_s = self._cascade.clock.now_s()
        query = self._query(prompt, references)
        journal = self._journal
        return Turn(
            self._cascade,
            query,
            started_s=started_s,
            shadow=shadow,
            sampling=sampling,
            stop=stop,
            cancelled=cancelled,
            remember=None if journal is None else lambda answer: journal.add(query, answer),
        )

    def ask_large(self, prompt: Prompt, *, references: Sequence[str] = ()) -> LargeAnswer:
        """Ask the cloud alone, as a device without a model of its own would.

        Raises:
            PromptError: see `ask`.
            CloudError: there is no cloud, it refused, or it did not answer.
        """
        query = self._query(prompt, references)
        if self._cascade.large is None:
            raise CloudError("NO_CLOUD", "this client was opened without a cloud")
        return self._cascade.large.ask(query, None)

    def trace_record(self, record: Record, *, shadow: bool = False) -> TraceRecord:
        """Ask a query record and remember all of it, but not in this client's own trace."""
        started_s = self._cascade.clock.now_s()
        query = self._query(record.prompt, record.references)
        turn = Turn(self._cascade, query, started_s=started_s, shadow=shadow)
        return _answer_of(turn).as_record(record)

    def trace_header(self) -> TraceHeader:
        """The first line of this client's traces.

        Raises:
            CloudError: there is a cloud and it does not say who it is.
            CalibrationError: there is no threshold.
        """
        return trace_header(self._cascade)

    def close(self) -> None:
        """Close the channel."""
        if self._cascade.large is not None:
            self._cascade.large.close()

    def __enter__(self) -> EdgeClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @cached_property
    def _chat(self) -> ChatPrompt:
        return ChatPrompt(self.artifact)

    def _query(self, prompt: Prompt, references: Sequence[str]) -> Query:
        if isinstance(prompt, str):
            prompt_ids = self.artifact.encode(prompt)
            return Query(text=prompt, prompt_ids=prompt_ids, references=references)
        text = self._chat.text(prompt)
        prompt_ids = self.artifact.encode(text, special_tokens=False)
        query = Query(text=text, prompt_ids=prompt_ids, from_template=True, references=references)
        if self._cascade.large is not None:
            self._cascade.large.check(query)
        return query


def _answer_of(turn: Turn) -> Answer:
    answer = turn.finish()
    assert answer is not None  # noqa: S101 - nobody could cancel it
    return answer
