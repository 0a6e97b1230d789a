"""Answers in the shape of OpenAI's API, whole or as chunks of a stream; knows no socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from escalade.edge.answer import Answer
from escalade.edge.endpoint.openai.tokens import Token, chat_logprobs, text_logprobs
from escalade.edge.errors import RefusedError
from escalade.edge.generation import StopReason

_FINISH: dict[StopReason, str] = {"end": "stop", "stop": "stop", "length": "length"}
_SERVERS_FAULT = 500


class Finished(NamedTuple):
    """One choice, whole."""

    answer: Answer
    #: None where they were not asked for, or cannot be given.
    tokens: Sequence[Token] | None
    #: See `decision`.
    decision: dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Replies:
    """What the answers to one request have in common."""

    chat: bool
    id: str
    #: Seconds since 1970.
    created: int
    model: str
    fingerprint: str
    #: Of each choice, whether it is the first to its prompt: only that one has read it.
    first: Sequence[bool]
    include_usage: bool = False

    def whole(self, choices: Sequence[Finished]) -> bytes:
        """A completion."""
        return msgspec.json.encode(
            {
                **self._common(chunk=False),
                "choices": [self._choice(index, one) for index, one in enumerate(choices)],
                "usage": self._usage(choices),
            }
        )

    def begin(self, index: int) -> bytes:
        """The first chunk of a choice in a chat: who speaks."""
        return self._chunk(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, text: str, tokens: Sequence[Token] | None) -> bytes:
        """A chunk of text."""
        return self._chunk(index, {"content": text}, tokens=tokens)

    def event(self, index: int, event: dict[str, object]) -> bytes:
        """A chunk that says something of a choice and adds nothing to it."""
        return self._chunk(index, {}, escalade=event)

    def end(self, index: int, one: Finished) -> bytes:
        """The last chunk of a choice."""
        finish = _FINISH[one.answer.stop]
        return self._chunk(index, {}, finish=finish, escalade=one.decision)

    def usage(self, choices: Sequence[Finished]) -> bytes:
        """The last chunk of all, where usage was asked for."""
        whole = {**self._common(chunk=True), "choices": [], "usage": self._usage(choices)}
        return msgspec.json.encode(whole)

    def _choice(self, index: int, one: Finished) -> dict[str, object]:
        text = one.answer.text
        if self.chat:
            body: dict[str, object] = {
                "message": {"role": "assistant", "content": text, "refusal": None}
            }
        else:
            body = {"text": text}
        return {
            "index": index,
            **body,
            "logprobs": self._logprobs(one.tokens),
            "finish_reason": _FINISH[one.answer.stop],
            "escalade": one.decision,
        }

    def _chunk(
        self,
        index: int,
        delta: dict[str, str],
        *,
        tokens: Sequence[Token] | None = None,
        finish: str | None = None,
        escalade: dict[str, object] | None = None,
    ) -> bytes:
        body: dict[str, object] = (
            {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        )
        choice = {
            "index": index,
            **body,
            "logprobs": self._logprobs(tokens),
            "finish_reason": finish,
        }
        if escalade is not None:
            choice["escalade"] = escalade
        chunk = {**self._common(chunk=True), "choices": [choice]}
        if self.include_usage:
            chunk["usage"] = None
        return msgspec.json.encode(chunk)

    def _common(self, *, chunk: bool) -> dict[str, object]:
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if chunk else "chat.completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _logprobs(self, tokens: Sequence[Token] | None) -> dict[str, object] | None:
        if tokens is None:
            return None
        return chat_logprobs(tokens) if self.chat else text_logprobs(tokens)

    def _usage(self, choices: Sequence[Finished]) -> dict[str, int]:
        """Of the tiers whose answers stand; the others are in `escalade`."""
        members = [one.answer.said.members for one in choices]
        written = sum(one.generated_tokens for each in members for one in each)
        read = sum(
            one.prompt_tokens
            for each, first in zip(members, self.first, strict=True)
            for one in each
            if first
        )
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }


def error_body(error: RefusedError) -> bytes:
    """A refusal as OpenAI's clients read it."""
    kind = "server_error" if error.status >= _SERVERS_FAULT else _KINDS.get(error.status, _INVALID)
    return msgspec.json.encode(
        {
            "error": {
                "message": str(error),
                "type": kind,
                "param": error.param,
                "code": error.code,
            }
        }
    )


_INVALID = "invalid_request_error"
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
