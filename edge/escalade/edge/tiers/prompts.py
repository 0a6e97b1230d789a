"""A query as each model reads it: text and token ids; every tokenizer reads it once.

Knows no tier and no network.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import msgspec

from escalade.edge.artifact import program_digest
from escalade.edge.chat import ChatPrompt
from escalade.edge.errors import PromptError
from escalade.edge.generation import Artifact
from escalade.edge.policy import Hidden
from escalade.edge.runtimes import Draw
from escalade.edge.tiers.query import Query
from escalade.edge.trace import MemberInfo


class Member:
    """An opened artifact as a member of a tier."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        prompt_price: float = 0.0,
        generated_price: float = 0.0,
        weight: float = 1.0,
        draw: Draw | None = None,
    ) -> None:
        """Take an artifact.

        Args:
            artifact: opened and verified.
            prompt_price: money for a million tokens read, >= 0.
            generated_price: money for a million tokens written, >= 0.
            weight: of its voice among those of its tier, > 0 and finite.
            draw: of a model that speaks several times; None takes the query's sampling.
        """
        self.artifact = artifact
        self.draw = draw
        model, linear = artifact.manifest.model, artifact.manifest.linear
        #: Of the tokenizer whose ids may travel; empty of a classifier, which reads text and
        #: answers with a label.
        self.fingerprint = "" if artifact.classifies else model.tokenizer_fingerprint
        #: Those of one read a text alike. Each classifier cuts it at its own window.
        self.reads_text: tuple[object, ...] = (self.fingerprint,)
        if artifact.classifies:
            self.reads_text = (model.tokenizer_fingerprint, model.window)
        self.info = MemberInfo(
            name=model.name,
            parameters=model.parameters if linear is None else len(linear.intercepts),
            program_sha256=program_digest(artifact.manifest),
            prompt_price=prompt_price,
            generated_price=generated_price,
            weight=weight,
        )

    @cached_property
    def reads_chat(self) -> tuple[object, ...]:
        """Those of one read a conversation alike; templates read the special tokens beside them."""
        artifact = self.artifact
        if artifact.classifies:
            return self.reads_text
        chat = msgspec.json.encode(artifact.manifest.model.chat, order="sorted")
        return self.fingerprint, artifact.chat_template, chat

    @cached_property
    def chat(self) -> ChatPrompt:
        """Its chat template, compiled.

        Raises:
            ArtifactError: it has none, or a bad one.
        """
        return ChatPrompt(self.artifact)


class Encoded(NamedTuple):
    """A query as one model reads it."""

    #: As it was typed, or as a chat template wrote it.
    text: str
    ids: list[int]


class Prompts:
    """What one query is to each model; a tokenizer that several share reads it once."""

    __slots__ = ("__weakref__", "_checked", "_read", "query", "sent")

    def __init__(self, query: Query) -> None:
        self.query = query
        #: What goes to tiers elsewhere in its place, and what is hidden in that; None until a
        #: policy has looked.
        self.sent: tuple[Prompts, Hidden] | None = None
        self._read: dict[tuple[object, ...], Encoded] = {}
        # A tier asks for the same member's twice and again while its caller waits.
        self._checked: dict[Member, Encoded] = {}

    def of(self, member: Member) -> Encoded:
        """The query as a member reads it.

        Raises:
            PromptError: it is empty, longer than the member's window, refused by its template,
                or ids of another tokenizer.
            ArtifactError: it is a conversation and there is no chat template, or a bad one.
        """
        found = self._checked.get(member)
        if found is None:
            found = self._checked[member] = self._of(member)
        return found

    def _of(self, member: Member) -> Encoded:
        artifact, query = member.artifact, self.query
        key = member.reads_chat if query.messages else member.reads_text
        known = self._read.get(key)
        if known is not None:
            artifact.room_for(known.ids)  # its window may be another
            return known
        if query.ids:
            if artifact.classifies:
                raise PromptError(
                    f"token ids: {artifact.manifest.model.name} is a classifier, which reads text;"
                    " send text"
                )
            if query.tokenizer_fingerprint != member.fingerprint:
                raise PromptError(
                    f"token ids of the tokenizer {query.tokenizer_fingerprint[:12]!r}:"
                    f" {artifact.manifest.model.name} has {member.fingerprint[:12]!r}; send text"
                )
            ids = list(query.ids)
            artifact.room_for(ids)
            artifact.check_ids(ids)
            found = Encoded(artifact.decode(ids), ids)
        elif query.messages:
            text = member.chat.text(query.messages)
            found = Encoded(text, artifact.encode(text, special_tokens=False))
        else:
            found = Encoded(query.text, artifact.encode(query.text))
        self._read[key] = found
        return found

    @property
    def text(self) -> str:
        """For a trace: what was asked, as the first model that read it saw it."""
        if self._read:
            return next(iter(self._read.values())).text
        return self.query.text
