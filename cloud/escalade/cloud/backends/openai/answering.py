"""Answers, scores and verdicts of one server that is known; knows no queue, no turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.drafts import Reading, draft_of, verdict_of
from escalade.cloud.backends.embedded import Response
from escalade.cloud.backends.openai.scoring import Row, reading_of, rows_of, scores_of, trusted
from escalade.cloud.backends.openai.server import (
    BEST_TWO,
    ENTRY_BYTES,
    ENVELOPE_BYTES,
    TOKEN_BYTES,
    Offer,
    Reply,
    Token,
    Upstream,
    choice_of,
    finish_of,
    garbage,
    reply_of,
    tokens_of,
)
from escalade.cloud.backends.openai.text import TextResponse
from escalade.cloud.backends.query import Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import NotSupportedError, PromptTooLongError
from escalade.v1 import cascade_pb2 as pb

if TYPE_CHECKING:
    from escalade.cloud.backends.openai.vocabulary import Vocabulary

# Log-probabilities nearer than this may change places between a pass over a draft and one for each
# token, as in the embedded engine; a server in bfloat16 differs by more, and promises no more.
_TIE = 1e-3
_ANY_TEXT = "Hello"
# That a count on the wire holds.
_MOST_TOKENS = (1 << 32) - 1
# A token has at least a byte of a prompt, but for special ones, and those of a chat's template.
_SPECIAL_TOKENS, _TEMPLATE_TOKENS = 8, 256


class Answering:
    """Asks for what a query wants, and reads what comes.

    Args:
        upstream: the server.
        offer: what it was found to offer.
        vocabulary: its tokenizer; None in text alone.
        info: what is told of it.
    """

    def __init__(
        self, upstream: Upstream, offer: Offer, vocabulary: Vocabulary | None, info: BackendInfo
    ) -> None:
        self._upstream = upstream
        self._offer = offer
        self._vocabulary = vocabulary
        self._info = info

    async def answer(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece; in text, or where there is a tokenizer of ids."""
        if self._vocabulary is None:
            answer = self._of_text(query, ticket)
        else:
            answer = self._of_ids(query, self._vocabulary, ticket)
        async with aclosing(answer):
            async for delta in answer:
                yield delta

    async def _of_ids(
        self, query: Query, vocabulary: Vocabulary, ticket: Ticket
    ) -> AsyncGenerator[Delta, None]:
        streamed = self._offer.streams and (query.streamed or bool(query.stop_texts))
        response = Response(
            query, self._info, vocabulary.decode, vocabulary.spell, streamed=query.streamed
        )
        scored = query.logprobs or query.draft is not None
        finish: pb.StopReason | None = None
        given = await self._begin(response, query.prompt_ids, ticket)
        left, ended = response.left, response.ended
        asked, counted = left, 0
        if query.streamed and (delta := response.take()) is not None:
            yield delta
        if left:
            body = self._offer.body(given, left, scored=scored, streamed=streamed)
            async with aclosing(self._replies(body, left, ticket, streamed=streamed)) as replies:
                async for reply in replies:
                    if reply.usage is not None:
                        counted = reply.usage.completion_tokens
                    for choice in reply.choices:
                        tokens = tokens_of(choice, vocabulary.size, scored=scored)
                        if tokens is None and (choice.said or choice.finish_reason is None):
                            raise garbage("has text and no token ids")
                        left -= len(tokens or ())
                        if left < 0 or (finish is not None and tokens):
                            raise garbage("has more tokens than were asked for")
                        ended = _add(response, tokens or ())
                        finish = finish or finish_of(choice)
                    if ended and finish is None:
                        break  # a stop text: what comes after it is for nobody
                    if query.streamed and (delta := response.take()) is not None:
                        yield delta if scored else delta._replace(logprobs=())
            if finish is None and not ended:
                raise garbage("broke off")
            if counted and finish is not None and counted != asked - left:
                # llama.cpp's server leaves out those of a character that is not whole yet.
                raise NotSupportedError(
                    f"token ids: the server behind this one says {asked - left} of {counted}; ask"
                    " in text, of a server without --tokenizer"
                )
        answer = response.answer(None if ended else _stopped(finish, left))
        if not scored:
            answer = msgspec.structs.replace(answer, logprobs=(), margins=())
        yield Delta(answer=answer)

    async def _of_text(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        streamed = self._offer.streams and (query.streamed or bool(query.stop_texts))
        response = TextResponse(query)
        room = await self._room(query, ticket)
        longest = min(query.max_new_tokens, room)
        body = self._offer.body(query.prompt_text, longest, streamed=streamed)
        finish: pb.StopReason | None = None
        read = written = 0
        async with aclosing(self._replies(body, longest, ticket, streamed=streamed)) as replies:
            async for reply in replies:
                if reply.usage is not None:
                    read, written = reply.usage.prompt_tokens, reply.usage.completion_tokens
                for choice in reply.choices:
                    response.add(choice.said)
                    finish = finish or finish_of(choice)
                if response.ended and finish is None:
                    break
                if query.streamed and (delta := response.take()) is not None:
                    yield delta
        if finish is None and not response.ended:
            raise garbage("broke off")
        if not (0 <= read <= _MOST_TOKENS and 0 <= written <= longest):
            raise garbage("counts tokens that cannot be")
        reason = finish or pb.STOP_REASON_UNSPECIFIED
        if reason == pb.STOP_REASON_MAX_TOKENS and longest < query.max_new_tokens:
            reason = pb.STOP_REASON_CONTEXT_LIMIT
        yield Delta(answer=response.answer(reason, read, written))

    async def score(self, query: ScoreQuery, top_k: int, ticket: Ticket) -> Scores:
        """The scores of one response."""
        given = (*query.prompt_ids, *query.response_ids)
        rows, _ = await self._read(given, len(query.response_ids), max(top_k, 1), ticket)
        return scores_of(rows, top_k)

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """How far a draft stands; of a query with ids."""
        draft = draft_of(query)
        reading = await self._read_draft(query.prompt_ids, draft.tokens.ids, ticket)
        verdict = verdict_of(reading, draft, self._info.end_of_sequence_ids)
        return verdict._replace(prompt_tokens=len(query.prompt_ids))

    async def touch(self, ticket: Ticket) -> None:
        """Ask for one token, to see whether there is anybody.

        Raises:
            RequestError: there is not.
        """
        vocabulary = self._vocabulary
        prompt = _ANY_TEXT if vocabulary is None else vocabulary.encode(_ANY_TEXT)
        replies = self._replies(self._offer.body(prompt, 1), 1, ticket, streamed=False)
        async with aclosing(replies):
            async for _ in replies:
                pass

    async def _room(self, query: Query, ticket: Ticket) -> int:
        """Tokens that the window leaves an answer; a prompt that may fill it is counted first."""
        window = self._offer.context_length
        more = _TEMPLATE_TOKENS if self._offer.chat else _SPECIAL_TOKENS
        if len(query.prompt_text.encode()) + more + query.max_new_tokens <= window:
            return query.max_new_tokens
        body = self._offer.body(query.prompt_text, 1)
        said = await self._upstream.ask(
            self._offer.path, body, ticket, most_bytes=ENVELOPE_BYTES + TOKEN_BYTES
        )
        usage = reply_of(said).usage
        if usage is None or usage.prompt_tokens <= 0:
            return query.max_new_tokens
        if usage.prompt_tokens >= window:
            raise PromptTooLongError(
                "prompt.text", f"must hold 1..{window - 1} tokens, got {usage.prompt_tokens}"
            )
        return window - usage.prompt_tokens

    async def _begin(
        self, response: Response, prompt_ids: tuple[int, ...], ticket: Ticket
    ) -> tuple[int, ...]:
        """Go on by what stands of a draft, and the choice after it; the prompt of the rest."""
        reads = self._offer.max_top_k >= BEST_TWO
        draft_ids, lets_stand = response.read_draft() if reads else ((), None)
        if not draft_ids:
            return prompt_ids
        reading = await self._read_draft(prompt_ids, draft_ids, ticket)
        given = list(prompt_ids)
        for choice in trusted(reading, draft_ids, lets_stand, _TIE):
            if not response.ended:
                response.add(*choice)
                given.append(choice.token)
        return tuple(given)

    async def _read_draft(
        self, prompt_ids: Sequence[int], draft_ids: Sequence[int], ticket: Ticket
    ) -> Reading:
        given = (*prompt_ids, *draft_ids)
        return reading_of(*await self._read(given, len(draft_ids), BEST_TWO, ticket))

    async def _read(
        self, given: Sequence[int], count: int, k: int, ticket: Ticket
    ) -> tuple[list[Row], Token]:
        """The last `count` places of a text, and the choice after it."""
        size = self._info.vocabulary_size
        # Of one place that nobody asked for there is no second best.
        scored = k >= BEST_TWO
        body = self._offer.body(given, 1, scored=scored, prompt_logprobs=k)
        most = ENVELOPE_BYTES + len(given) * (k + 1) * ENTRY_BYTES
        said = await self._upstream.ask(self._offer.path, body, ticket, most_bytes=most)

        def read() -> tuple[list[Row], Token]:
            choice = choice_of(reply_of(said))
            tokens = tokens_of(choice, size, scored=scored)
            if not tokens:
                raise garbage("has no token after the prompt")
            return rows_of(choice, given, count, k, size), tokens[0]

        return await asyncio.to_thread(read)  # there may be megabytes of it

    async def _replies(
        self, body: Mapping[str, object], longest: int, ticket: Ticket, *, streamed: bool
    ) -> AsyncGenerator[Reply, None]:
        """What comes of a request: one reply, or those of a stream."""
        most = ENVELOPE_BYTES + longest * TOKEN_BYTES
        if not streamed:
            said = await self._upstream.ask(self._offer.path, body, ticket, most_bytes=most)
            reply = reply_of(said)
            choice_of(reply)
            yield reply
            return
        events = self._upstream.events(self._offer.path, body, ticket, most_bytes=most)
        async with aclosing(events):
            async for event in events:
                yield reply_of(event)


def _add(response: Response, tokens: Sequence[Token]) -> bool:
    """Go on by some tokens, as far as the response goes; whether it has ended."""
    for token, logprob, margin in tokens:
        if response.ended:
            break
        response.add(token, logprob, margin)
    return response.ended


def _stopped(finish: pb.StopReason | None, left: int) -> pb.StopReason | None:
    """Why an answer ended that no token and no text of ours did; None is for its length."""
    if finish == pb.STOP_REASON_MAX_TOKENS and left:
        return pb.STOP_REASON_CONTEXT_LIMIT  # the server's window is the smaller one
    return None if finish == pb.STOP_REASON_MAX_TOKENS else finish
