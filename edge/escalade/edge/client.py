"""The edge client: answer, score, decide, defer, remember; knows no simulator, no torch.

Every query ends in exactly one of four ways: answered by the small model, deferred and
answered by the large one, degraded (deferred, but the cloud did not answer: the small
model's own answer stands), or refused (`PromptError`, before any work). The first three
are an `Outcome` and leave a trace record.
"""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from escalade.edge.artifact import Artifact
from escalade.edge.cloud import Clock, CloudClient, SystemClock
from escalade.edge.errors import CalibrationError, CloudError
from escalade.edge.records import Record
from escalade.edge.rules import defers, rule_named
from escalade.edge.runtimes.base import Step
from escalade.edge.trace import (
    TRACE_SCHEMA,
    LargeAnswer,
    ModelInfo,
    Outcome,
    SmallAnswer,
    TraceAppender,
    TraceHeader,
    TraceRecord,
)
from escalade.v1 import cascade_pb2

PromptForm = Literal["tokens", "text"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one query ended."""

    text: str
    outcome: Outcome
    #: r(x) under the rule, and the tau it was held against (None: not calibrated).
    score: float
    threshold: float | None
    #: r(x) >= tau: what a cloud would have been asked for.
    would_defer: bool
    small: SmallAnswer
    large: LargeAnswer | None
    total_s: float
    #: Why the cloud did not answer, where it was asked and did not.
    reason: str | None

    @property
    def answered_by(self) -> Literal["small", "large"]:
        """Whose text this is."""
        return "large" if self.outcome == "deferred" else "small"


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
        trace: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Put an artifact and a cloud together.

        Args:
            artifact: opened and verified.
            cloud: the large model; None answers everything locally.
            threshold: tau; None takes the manifest's.
            prompt_form: send token ids (both models share a tokenizer) or text.
            trace: every query that `ask` answers adds its record to this file.
            clock: see `Clock`.

        Raises:
            CalibrationError: there is a cloud to defer to or a trace to write, but no
                threshold, or the threshold is not finite.
            DataError: the trace file is something else, or another client's.
        """
        deferral = artifact.manifest.deferral
        self.artifact = artifact
        self.rule = deferral.rule
        self.threshold = deferral.threshold if threshold is None else threshold
        if (cloud is not None or trace is not None) and self.threshold is None:
            raise CalibrationError(
                f"{artifact.folder}: not calibrated: run `escalade calibrate`, or give a threshold"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise CalibrationError(f"threshold must be a finite number, got {self.threshold}")
        self._cloud = cloud
        self._prompt_form = prompt_form
        self._clock = clock or SystemClock()
        self._trace = None
        if trace is not None and self.threshold is not None:
            self._trace = TraceAppender(trace, self._header_with(None, self.threshold))

    @classmethod
    def open(
        cls,
        artifact: Path,
        *,
        cloud: str | None = None,
        threshold: float | None = None,
        deadline_s: float = 10.0,
        prompt_form: PromptForm = "tokens",
        trace: Path | None = None,
        threads: int = 0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
    ) -> EdgeClient:
        """Open an artifact folder and, with `cloud` as `HOST:PORT`, a channel.

        See `Artifact.open` and `CloudClient` for the arguments and errors.
        """
        opened = Artifact.open(artifact, threads=threads)
        client = (
            CloudClient(cloud, deadline_s=deadline_s, ca_cert=ca_cert, plaintext=plaintext)
            if cloud is not None
            else None
        )
        return cls(opened, cloud=client, threshold=threshold, prompt_form=prompt_form, trace=trace)

    def ask(self, prompt: str, *, references: Sequence[str] = (), shadow: bool = False) -> Answer:
        """Answer one query, and remember it where the client was opened with a trace.

        Args:
            prompt: as the user typed it.
            references: responses that count as correct, for the trace.
            shadow: ask the cloud too, whatever the score says; the decision stays.

        Raises:
            PromptError: the prompt is empty or longer than the window.
        """
        answer = self._answer(prompt, references, shadow=shadow)
        if self._trace is not None:
            asked = Record(id=uuid.uuid4().hex, task="", prompt=prompt, references=list(references))
            self._trace.append(self._header, self.as_record(asked, answer))
        return answer

    def _answer(self, prompt: str, references: Sequence[str], *, shadow: bool) -> Answer:
        started = self._clock.now_s()
        prompt_ids = self.artifact.encode(prompt)
        steps = self.artifact.generate(prompt_ids)
        small = self._small_answer(prompt_ids, steps, references, started)
        score = rule_named(self.rule)(small.logprobs)
        would_defer = self.threshold is not None and defers(score, self.threshold)
        decided_s = self._clock.now_s() - started
        large, reason = None, None
        if self._cloud is not None and (would_defer or shadow):
            try:
                draft = self._draft(steps, score)
                large = self._ask_cloud(prompt, prompt_ids, draft, references)
            except CloudError as error:
                reason = str(error)
        outcome: Outcome = "answered"
        if would_defer and self._cloud is not None:
            outcome = "deferred" if large is not None else "degraded"
        asked = outcome != "answered"
        return Answer(
            text=large.text if outcome == "deferred" and large is not None else small.text,
            outcome=outcome,
            score=score,
            threshold=self.threshold,
            would_defer=would_defer,
            small=small,
            large=large,
            total_s=self._clock.now_s() - started if asked else decided_s,
            reason=reason,
        )

    def ask_large(self, prompt: str, *, references: Sequence[str] = ()) -> LargeAnswer:
        """Ask the cloud alone, as a device without a model of its own would.

        Raises:
            PromptError: the prompt is empty or longer than the window.
            CloudError: there is no cloud, it refused, or it did not answer.
        """
        return self._ask_cloud(prompt, self.artifact.encode(prompt), None, references)

    def trace_record(self, record: Record, *, shadow: bool = False) -> TraceRecord:
        """Ask a query record and remember all of it; see `ask`."""
        return self.as_record(record, self._answer(record.prompt, record.references, shadow=shadow))

    def as_record(self, record: Record, answer: Answer) -> TraceRecord:
        """The line that a query and its answer make in a trace."""
        return TraceRecord(
            id=record.id,
            task=record.task,
            prompt=record.prompt,
            references=record.references,
            small=answer.small,
            large=answer.large,
            score=answer.score,
            outcome=answer.outcome,
            total_s=answer.total_s,
            reason=answer.reason,
        )

    def trace_header(self) -> TraceHeader:
        """The first line of this client's traces.

        Raises:
            CloudError: there is a cloud and it does not say who it is.
            CalibrationError: there is no threshold.
        """
        if self.threshold is None:
            raise CalibrationError(f"{self.artifact.folder}: a trace needs a threshold")
        return self._header_with(self._cloud.model_info() if self._cloud else None, self.threshold)

    def _header_with(self, large: ModelInfo | None, threshold: float) -> TraceHeader:
        model = self.artifact.manifest.model
        return TraceHeader(
            schema=TRACE_SCHEMA,
            small=ModelInfo(name=model.name, parameters=model.parameters),
            large=large,
            rule=self.rule,
            threshold=threshold,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _header(self) -> TraceHeader:
        """The header of a trace that is begun while serving: a silent cloud has no name."""
        try:
            return self.trace_header()
        except CloudError:
            assert self.threshold is not None  # noqa: S101 - trace_header has looked
            return self._header_with(None, self.threshold)

    def close(self) -> None:
        """Close the channel."""
        if self._cloud is not None:
            self._cloud.close()

    def __enter__(self) -> EdgeClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _small_answer(
        self,
        prompt_ids: Sequence[int],
        steps: Sequence[Step],
        references: Sequence[str],
        started: float,
    ) -> SmallAnswer:
        text = self.artifact.decode([step.token_id for step in steps if not step.ended])
        return SmallAnswer(
            text=text,
            logprobs=[step.logprob for step in steps],
            prompt_tokens=len(prompt_ids),
            generated_tokens=len(steps),
            generate_s=self._clock.now_s() - started,
            correct=_correct(text, references),
        )

    def _draft(self, steps: Sequence[Step], score: float) -> cascade_pb2.Draft:
        """The small model's own answer, sent along with a deferred query."""
        kept = [step for step in steps if not step.ended]
        return cascade_pb2.Draft(
            tokens=self._tokens([step.token_id for step in kept]),
            logprobs=[step.logprob for step in kept],
            score=score,
            threshold=self.threshold,
            rule=self.rule,
        )

    def _tokens(self, ids: Sequence[int]) -> cascade_pb2.TokenSequence:
        fingerprint = self.artifact.manifest.model.tokenizer_fingerprint
        return cascade_pb2.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint)

    def _ask_cloud(
        self,
        prompt: str,
        prompt_ids: Sequence[int],
        draft: cascade_pb2.Draft | None,
        references: Sequence[str],
    ) -> LargeAnswer:
        if self._cloud is None:
            raise CloudError("NO_CLOUD", "this client was opened without a cloud")
        if self._prompt_form == "text":
            # A draft's ids mean nothing to another tokenizer.
            answer = self._cloud.generate(cascade_pb2.Prompt(text=prompt), None)
        else:
            query = cascade_pb2.Prompt(tokens=self._tokens(prompt_ids))
            answer = self._cloud.generate(query, draft)
        return LargeAnswer(**answer._asdict(), correct=_correct(answer.text, references))


def _correct(text: str, references: Sequence[str]) -> bool | None:
    return text in references if references else None
