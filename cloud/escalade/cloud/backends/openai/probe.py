"""Asks a server what it offers, before anybody else does; knows no query.

Nothing is believed that was not tried: a completion, a stream, ids both ways, log-probabilities of
a prompt. Where a tokenizer is given, the server's ids of many texts must mean the same in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from escalade.cloud.backends.openai.listing import Told, listed
from escalade.cloud.backends.openai.server import (
    ENVELOPE_BYTES,
    NO_ACCESS,
    TOKEN_BYTES,
    Offer,
    Upstream,
    check_ids,
    choice_of,
    finish_of,
    http_status_of,
    reply_of,
    together,
    tokens_of,
)
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError, FieldError, ModelError, RequestError
from escalade.v1.quoting import quoted

if TYPE_CHECKING:
    from escalade.cloud.backends.openai.vocabulary import Vocabulary

# Any text; greedy, so that it costs one token.
_TEXT = "Hello"
_ABSENT = frozenset({404, 405, 501})
# As the embedded engine's: a student that is distilled wants most of the teacher's mass.
_MOST_TOP_K = 1024
_TRIED_AT_ONCE = 8


class _Tokenized(msgspec.Struct):
    tokens: Sequence[int]


async def probe(
    upstream: Upstream, vocabulary: Vocabulary | None, told: Told, ticket: Ticket
) -> Offer:
    """Find out what a server offers.

    Args:
        upstream: the server.
        vocabulary: the tokenizer that it should have; None asks it in text alone.
        told: what an operator says.
        ticket: until when.

    Raises:
        ModelError: it cannot be asked, or not so, or what it is must be told.
    """
    try:
        offer = await listed(upstream, vocabulary, told, ticket)
        if vocabulary is None:
            offer = await _in_text(upstream, offer, ticket)
        else:
            offer = await _in_ids(upstream, offer, vocabulary, ticket)
        return replace(offer, streams=await _streams(upstream, offer, ticket))
    except RequestError as error:
        status = http_status_of(error)
        hint = ""
        if status in NO_ACCESS:
            hint = "; give --api-key-file, or another key"
        elif status in _ABSENT:
            hint = "; is this the API's URL, and --model one that it has?"
        raise ModelError(f"{upstream.endpoint.url}: {error}{hint}") from error


async def _in_text(upstream: Upstream, offer: Offer, ticket: Ticket) -> Offer:
    """Ask for a token in text, as a completion or, where there are none, as a chat."""
    for chat in (False, True):
        offer = replace(offer, chat=chat)
        try:
            said = await _asked(upstream, offer, _TEXT, ticket)
        except RequestError as error:
            if chat or http_status_of(error) not in _ABSENT:
                raise
            continue
        finish_of(choice_of(reply_of(said)))
        break
    return offer


async def _in_ids(
    upstream: Upstream, offer: Offer, vocabulary: Vocabulary, ticket: Ticket
) -> Offer:
    """Ask in ids, hold its tokenizer against ours, and look for log-probabilities of prompts."""
    url = upstream.endpoint.url
    offer = replace(offer, ids=True)
    prompt = vocabulary.encode(_TEXT)
    why = "leave --tokenizer out to ask it in text"
    for scored in (False, True):
        offer = replace(offer, ids_scored=scored)
        try:
            said = await _asked(upstream, offer, prompt, ticket)
        except RequestError as error:
            if http_status_of(error) in {None, *NO_ACCESS}:
                raise
            raise ModelError(f"{url}: takes no token ids ({error}); {why}") from error
        if tokens_of(choice_of(reply_of(said)), vocabulary.size, scored=scored):
            break
    else:
        raise ModelError(f"{url}: gives no token ids; {why}")
    gate = asyncio.Semaphore(_TRIED_AT_ONCE)
    read = await _reader(upstream, offer, ticket)

    async def check(text: str) -> None:
        async with gate:
            theirs = await read(text)
        if theirs is None:
            raise ModelError(f"{url}: does not say how it reads a text; {why}")
        check_ids(theirs, vocabulary.size)
        # It will be sent ids, so it matters what they mean, not how it cuts a text into them:
        # llama.cpp's readings of rare signs differ from transformers' for many models.
        spelled, own = vocabulary.decode(theirs), vocabulary.decode(vocabulary.encode(text))
        if spelled != own:
            raise ModelError(
                f"{url}: has another tokenizer: its ids for {quoted(own)} mean {quoted(spelled)} in"
                " the folder's"
            )

    await together(check(text) for text in vocabulary.probes())
    most = await _max_top_k(upstream, offer, prompt, min(vocabulary.size, _MOST_TOP_K), ticket)
    if most:
        # To score a text that fills the window takes a token more.
        offer = replace(offer, context_length=offer.context_length - 1)
    return replace(offer, max_top_k=most)


async def _reader(
    upstream: Upstream, offer: Offer, ticket: Ticket
) -> Callable[[str], Awaitable[Sequence[int] | None]]:
    """How it is found out what the server makes of a text; without computing, where it can be."""

    async def tokenized(text: str) -> Sequence[int]:
        """By `/tokenize`, in the words of vLLM and in those of llama.cpp."""
        body = {
            **{"model": offer.model, "prompt": text, "add_special_tokens": True},
            **{"content": text, "add_special": True, "parse_special": True},
        }
        url = f"{upstream.endpoint.root}/tokenize"
        said = await upstream.ask(url, body, ticket, most_bytes=ENVELOPE_BYTES)
        return msgspec.json.decode(said, type=_Tokenized).tokens

    async def completed(text: str) -> Sequence[int] | None:
        """By a completion that says the prompt's ids, as vLLM's does; its router has this alone."""
        said = await _asked(upstream, offer, text, ticket)
        return choice_of(reply_of(said)).prompt_token_ids

    try:
        await tokenized(_TEXT)
    except (EngineDeadError, FieldError, msgspec.MsgspecError, ValueError):
        return completed
    return tokenized


async def _max_top_k(
    upstream: Upstream, offer: Offer, prompt: Sequence[int], most: int, ticket: Ticket
) -> int:
    """The most log-probabilities of a prompt's token, by bisection; 0 where there are none."""

    async def offered(count: int) -> bool:
        try:
            said = await _asked(upstream, offer, prompt, ticket, prompt_logprobs=count)
        except FieldError:
            return False
        return choice_of(reply_of(said)).prompt_logprobs is not None

    if not await offered(1):
        return 0
    low, high = 1, most
    if await offered(most):
        return most
    while high - low > 1:
        middle = (low + high) // 2
        if await offered(middle):
            low = middle
        else:
            high = middle
    return low


async def _streams(upstream: Upstream, offer: Offer, ticket: Ticket) -> bool:
    """Whether it answers as a stream that ends."""
    body = offer.body(_TEXT, 1, streamed=True)
    ended = False
    try:
        async with aclosing(
            upstream.events(offer.path, body, ticket, most_bytes=ENVELOPE_BYTES << 4)
        ) as events:
            async for event in events:
                for choice in reply_of(event).choices:
                    ended = finish_of(choice) is not None or ended
    except (EngineDeadError, FieldError):
        return False
    return ended


async def _asked(
    upstream: Upstream,
    offer: Offer,
    prompt: str | Sequence[int],
    ticket: Ticket,
    *,
    prompt_logprobs: int = 0,
) -> bytes:
    """One token, as a whole."""
    body = offer.body(prompt, 1, prompt_logprobs=prompt_logprobs)
    most = ENVELOPE_BYTES + TOKEN_BYTES * (len(prompt) + 1) * (prompt_logprobs + 2)
    return await upstream.ask(offer.path, body, ticket, most_bytes=most)
