"""Queries to an ensemble on the device, with a large model behind it; knows no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from escalade.edge.answer import Answer, is_correct
from escalade.edge.errors import CloudError
from escalade.edge.runtimes import Step
from escalade.edge.tiers import Ensemble, EnsembleAnswer
from escalade.edge.trace import LargeAnswer, Outcome, SmallAnswer
from escalade.edge.wire import Clock, CloudClient, LargeModel, PromptForm, Query, SystemClock


class EnsembleClient:
    """Several small models that vote, with a large one behind them.

    Example:
        >>> with EnsembleClient.open(Path("ensemble.json"), cloud="127.0.0.1:50051") as client:
        ...     print(client.ask("g2p: cascade").text)
    """

    def __init__(
        self,
        ensemble: Ensemble,
        *,
        cloud: CloudClient | None = None,
        prompt_form: PromptForm = "tokens",
        clock: Clock | None = None,
    ) -> None:
        """Put an ensemble and a cloud together.

        Args:
            ensemble: opened.
            cloud: the large model; None answers everything locally.
            prompt_form: send token ids of the first member's tokenizer, or text.
            clock: see `Clock`.
        """
        self.ensemble = ensemble
        self._clock = clock or SystemClock()
        self._large = None
        if cloud is not None:
            fingerprint = ensemble.members[0].manifest.model.tokenizer_fingerprint
            self._large = LargeModel(
                cloud, tokenizer_fingerprint=fingerprint, prompt_form=prompt_form
            )

    @classmethod
    def open(
        cls,
        ensemble: Path,
        *,
        cloud: str | None = None,
        deadline_s: float = 10.0,
        prompt_form: PromptForm = "tokens",
        threads: int = 0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
    ) -> EnsembleClient:
        """Open an ensemble's file and, with `cloud` as `HOST:PORT`, a channel.

        See `Ensemble.open` and `CloudClient` for the arguments and errors.
        """
        opened = Ensemble.open(ensemble, threads=threads)
        client = (
            CloudClient(cloud, deadline_s=deadline_s, ca_cert=ca_cert, plaintext=plaintext)
            if cloud is not None
            else None
        )
        return cls(opened, cloud=client, prompt_form=prompt_form)

    def ask(self, prompt: str, *, references: Sequence[str] = ()) -> Answer:
        """Answer one query; no draft travels, for no member speaks for the others.

        Returns:
            `small` has the winning text, the log-probabilities of the member that gave it
            first, and the tokens that all the members asked have read and written. Where the
            cloud does not answer, the members that were spared are asked then: the answer is
            that of the whole vote.

        Raises:
            PromptError: a member cannot take the prompt; before any is asked.
        """
        started_s = self._clock.now_s()
        voted = self.ensemble.answer(prompt, can_defer=self._large is not None)
        generate_s = self._clock.now_s() - started_s
        large, reason = None, None
        if self._large is not None and voted.would_defer:
            prompt_ids = self.ensemble.members[0].encode(prompt)
            query = Query(text=prompt, prompt_ids=prompt_ids, references=references)
            large, reason = _asked(self._large, query)
            if large is None:
                again_s = self._clock.now_s()
                voted = self.ensemble.answer(prompt, can_defer=False, begun=voted)
                generate_s += self._clock.now_s() - again_s
        small = self._small_answer(prompt, voted, references, generate_s)
        outcome: Outcome = "answered"
        if voted.would_defer and self._large is not None:
            outcome = "deferred" if large is not None else "degraded"
        waited = outcome != "answered"
        return Answer(
            text=voted.text if large is None else large.text,
            outcome=outcome,
            score=voted.score,
            threshold=self.ensemble.threshold,
            would_defer=voted.would_defer,
            small=small,
            stop="end" if self._winning(voted)[-1].ended else "length",
            large=large,
            total_s=self._clock.now_s() - started_s if waited else small.generate_s,
            reason=reason,
            votes=voted.votes,
        )

    def close(self) -> None:
        """Close the channel."""
        if self._large is not None:
            self._large.close()

    def __enter__(self) -> EnsembleClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _small_answer(
        self, prompt: str, voted: EnsembleAnswer, references: Sequence[str], generate_s: float
    ) -> SmallAnswer:
        asked = self.ensemble.members[: len(voted.steps_by_member)]
        return SmallAnswer(
            text=voted.text,
            logprobs=[step.logprob for step in self._winning(voted)],
            prompt_tokens=sum(len(member.encode(prompt)) for member in asked),
            generated_tokens=sum(map(len, voted.steps_by_member)),
            generate_s=generate_s,
            correct=is_correct(voted.text, references),
        )

    def _winning(self, voted: EnsembleAnswer) -> Sequence[Step]:
        """What the first member generated that gave the winning answer."""
        for member, steps in zip(self.ensemble.members, voted.steps_by_member, strict=False):
            if member.decode([s.token_id for s in steps if not s.ended]) == voted.text:
                return steps
        raise AssertionError("the winning answer is one of the members'")


def _asked(large: LargeModel, query: Query) -> tuple[LargeAnswer | None, str | None]:
    """What the cloud said, or why it said nothing."""
    try:
        return large.ask(query, None), None
    except CloudError as error:
        return None, str(error)
