"""What an OpenAI-compatible server says of tokens, held against what can be; knows no transport.

Servers say ids in ways of their own: vLLM as `token_ids` where `return_token_ids` asks for them
(and its names of tokens are `token_id:ID` then, so that no two are one), llama.cpp beside each
log-probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from escalade.cloud.errors import EngineDeadError
from escalade.v1 import cascade_pb2 as pb

#: A float32 log-probability of a certain token may be rounded to just above 0.
_ROUNDING = 1e-5
_BEST_TWO = 2


class Entry(msgspec.Struct):
    """A token that might have stood somewhere."""

    logprob: float
    #: Of llama.cpp; elsewhere it is the key.
    id: int | None = None
    top_logprobs: Sequence[Entry] = ()


class Logprobs(msgspec.Struct):
    """Of generated tokens: OpenAI's three columns, or llama.cpp's one."""

    token_logprobs: Sequence[float | None] | None = None
    top_logprobs: Sequence[dict[str, float] | None] | None = None
    content: Sequence[Entry] | None = None


class Said(msgspec.Struct):
    """A message of a chat, or a piece of it."""

    content: str | None = None


class Choice(msgspec.Struct):
    """An answer, or a piece of it."""

    text: str = ""
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    token_ids: Sequence[int] | None = None
    prompt_token_ids: Sequence[int] | None = None
    #: For each token of the prompt the likeliest, and itself, by id; None for the first.
    prompt_logprobs: Sequence[dict[int, Entry] | None] | None = None

    @property
    def said(self) -> str:
        """Its text, wherever it stands."""
        part = self.message or self.delta
        return self.text if part is None else part.content or ""


class Usage(msgspec.Struct):
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Reply(msgspec.Struct):
    """A completion, or an event of one: the last may have usage alone."""

    choices: Sequence[Choice]
    usage: Usage | None = None


class Token(NamedTuple):
    """A token that was chosen; a log-probability that nobody asked for is 0."""

    id: int
    logprob: float = 0.0
    #: Above the second best.
    margin: float = 0.0


_DECODER = msgspec.json.Decoder(Reply)


def reply_of(data: bytes | str) -> Reply:
    """Read what the server said.

    Raises:
        EngineDeadError: it is no completion.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise garbage("is no completion") from error


def choice_of(reply: Reply) -> Choice:
    """The one answer of a reply that is whole.

    Raises:
        EngineDeadError: there is none, or several.
    """
    if len(reply.choices) != 1:
        raise garbage(f"has {len(reply.choices)} choices, asked for 1")
    return reply.choices[0]


def garbage(what: str) -> EngineDeadError:
    """What is raised where the server says what cannot be."""
    return EngineDeadError(f"upstream: its answer {what}")


def tokens_of(choice: Choice, vocabulary_size: int, *, scored: bool) -> list[Token] | None:
    """The tokens of an answer, or of a piece of it; None where it says no ids.

    Args:
        choice: what came.
        vocabulary_size: of its tokenizer.
        scored: whether log-probabilities were asked for.

    Raises:
        EngineDeadError: it says what cannot be.
    """
    said = choice.logprobs
    if choice.token_ids is not None:
        ids = list(choice.token_ids)
        scores = list(_scores(said)) if said is not None else []
    elif said is not None and said.content is not None:
        ids = [-1 if one.id is None else one.id for one in said.content]
        scores = [(one.logprob, [top.logprob for top in one.top_logprobs]) for one in said.content]
    else:
        return None
    check_ids(ids, vocabulary_size)
    if not scored:
        return [Token(id) for id in ids]
    if len(scores) != len(ids):
        raise garbage(f"has {len(scores)} log-probabilities for {len(ids)} tokens")
    return [
        Token(id, checked(logprob), margin_of([checked(one) for one in top]))
        for id, (logprob, top) in zip(ids, scores, strict=True)
    ]


def _scores(said: Logprobs) -> Iterator[tuple[float, Sequence[float]]]:
    own = said.token_logprobs or ()
    tops = said.top_logprobs or [None] * len(own)
    if len(tops) != len(own):
        raise garbage(f"has the best of {len(tops)} tokens, and {len(own)} tokens")
    for logprob, top in zip(own, tops, strict=True):
        if logprob is None:
            raise garbage("has a token without a log-probability")
        yield logprob, list((top or {}).values())


def check_ids(ids: Sequence[int], vocabulary_size: int) -> None:
    """Refuse ids that no vocabulary, or not this one, has.

    Raises:
        EngineDeadError: there is one.
    """
    if ids and not (min(ids) >= 0 and max(ids) < vocabulary_size):
        raise garbage(f"has token ids outside 0..{vocabulary_size - 1}")


def checked(logprob: float) -> float:
    """A log-probability that can be.

    Raises:
        EngineDeadError: it is above 0, or no finite number.
    """
    if not math.isfinite(logprob) or logprob > _ROUNDING:
        raise garbage("has a log-probability that is above 0 or not finite")
    return min(logprob, 0.0)


def margin_of(logprobs: Sequence[float]) -> float:
    """The best above the second best; 0 where there are not two."""
    best = sorted(logprobs, reverse=True)[:_BEST_TWO]
    return best[0] - best[1] if len(best) == _BEST_TWO else 0.0


#: Why an answer ended; whatever else a server says of it is no end of an answer.
_FINISHED = {
    "stop": pb.STOP_REASON_END_OF_SEQUENCE,
    "eos": pb.STOP_REASON_END_OF_SEQUENCE,
    "length": pb.STOP_REASON_MAX_TOKENS,
}


def finish_of(choice: Choice) -> pb.StopReason | None:
    """Why it ended, if it has.

    Raises:
        EngineDeadError: it broke off, or for a reason that is none.
    """
    said = choice.finish_reason
    if said is None:
        return None
    if said not in _FINISHED:
        raise garbage("ended neither by itself nor for its length")
    return _FINISHED[said]
