"""The large model as the device sees it: what is sent and what comes back; knows no rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from escalade.edge.answer import is_correct
from escalade.edge.errors import PromptError
from escalade.edge.generation import find_stop
from escalade.edge.runtimes import Step
from escalade.edge.trace import LargeAnswer, ModelInfo
from escalade.edge.wire.cloud import CloudClient
from escalade.v1 import cascade_pb2

PromptForm = Literal["tokens", "text"]


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query x, ready for both models."""

    #: As the user typed it, or as a chat template wrote it.
    text: str
    prompt_ids: Sequence[int]
    #: Whether the text holds the special tokens already, so that it cannot travel as text.
    from_template: bool = False
    #: Responses that count as correct.
    references: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The small model's own answer, sent along with a deferred query."""

    steps: Sequence[Step]
    #: None where generation was stopped early: the draft is only how the answer begins.
    score: float | None
    threshold: float | None
    rule: str


class LargeModel:
    """A large model behind a channel, spoken to in the small model's tokens or in text."""

    def __init__(
        self, cloud: CloudClient, *, tokenizer_fingerprint: str, prompt_form: PromptForm
    ) -> None:
        """Put a channel and a tokenizer together.

        Args:
            cloud: the channel.
            tokenizer_fingerprint: of the small model; a server with another one refuses ids.
            prompt_form: send token ids (both models share a tokenizer) or text.
        """
        self._cloud = cloud
        self._fingerprint = tokenizer_fingerprint
        self._prompt_form = prompt_form

    def info(self) -> ModelInfo:
        """Who it is; see `CloudClient.model_info`."""
        return self._cloud.model_info()

    def check(self, query: Query) -> None:
        """Refuse what cannot be sent, before any work.

        Raises:
            PromptError: a conversation that would have to travel as text.
        """
        if query.from_template and self._prompt_form == "text":
            raise PromptError(
                "a conversation travels as tokens of the small model's template: it cannot be"
                " sent as text"
            )

    def ask(self, query: Query, draft: Draft | None, *, stop: Sequence[str] = ()) -> LargeAnswer:
        """Ask a query.

        Args:
            query: checked.
            draft: left out where the prompt travels as text: another tokenizer has other ids.
            stop: texts that end the response before them.

        Raises:
            CloudError: it refused, or did not answer.
        """
        if self._prompt_form == "text":
            answer = self._cloud.generate(cascade_pb2.Prompt(text=query.text), None)
        else:
            prompt = cascade_pb2.Prompt(tokens=self._tokens(query.prompt_ids))
            sent = None if draft is None else self._draft(draft)
            answer = self._cloud.generate(prompt, sent)
        text = answer.text[: find_stop(answer.text, stop)]
        return LargeAnswer(
            **answer._replace(text=text)._asdict(), correct=is_correct(text, query.references)
        )

    def close(self) -> None:
        """Close the channel."""
        self._cloud.close()

    def _draft(self, draft: Draft) -> cascade_pb2.Draft:
        kept = [step for step in draft.steps if not step.ended]
        return cascade_pb2.Draft(
            tokens=self._tokens([step.token_id for step in kept]),
            logprobs=[step.logprob for step in kept],
            score=draft.score,
            threshold=draft.threshold,
            rule=draft.rule,
        )

    def _tokens(self, ids: Sequence[int]) -> cascade_pb2.TokenSequence:
        return cascade_pb2.TokenSequence(ids=ids, tokenizer_fingerprint=self._fingerprint)
