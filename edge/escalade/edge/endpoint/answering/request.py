"""What one request asks: a query for each choice; knows no HTTP and no cascade's state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from escalade.edge.chat import Message
from escalade.edge.endpoint.openai import (
    ChatBody,
    StreamMode,
    TextBody,
    conversation,
    prompts,
    unsupported,
)
from escalade.edge.errors import RefusedError
from escalade.edge.runtimes import Sampling
from escalade.edge.tiers import Member, Query, Tier

# As wide as the wire's.
_SEEDS = 1 << 64


class Request(NamedTuple):
    """A request."""

    chat: bool
    model: str
    #: One for each choice, in order.
    queries: Sequence[Query]
    #: Of each, whether it is the first to its prompt.
    first: Sequence[bool]
    stream: bool
    include_usage: bool
    mode: StreamMode
    #: Whether each token's log-probability is wanted.
    logprobs: bool


def chat_request(
    body: ChatBody, tiers: Sequence[Tier], mode: StreamMode, draw_seed: Callable[[], int]
) -> Request:
    """What a chat asks.

    Args:
        body: of the request.
        tiers: who is asked.
        mode: where the request says none.
        draw_seed: gives the seed where tokens are drawn and the request has none.

    Raises:
        RefusedError: it has no query, or asks for what these tiers cannot give.
    """
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise RefusedError(
            400,
            "invalid_value",
            "'max_tokens' and 'max_completion_tokens' are one thing: give one of them",
            param="max_tokens",
        )
    if body.top_logprobs is not None and not body.logprobs:
        raise RefusedError(
            400, "invalid_value", "'top_logprobs' needs 'logprobs': true", param="top_logprobs"
        )
    top = body.top_logprobs or 0
    query = _query(
        body, body.max_tokens or body.max_completion_tokens, body.logprobs or False, top, tiers
    )
    asked = _conversed(query, conversation(body.messages), tiers)
    return _request(body, [asked], chat=True, mode=mode, draw_seed=draw_seed)


def text_request(
    body: TextBody, tiers: Sequence[Tier], mode: StreamMode, draw_seed: Callable[[], int]
) -> Request:
    """What a completion asks; see `chat_request`."""
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise unsupported("best_of", "each answer that is computed is given: best_of must be n")
    asked = body.logprobs is not None
    query = _query(body, body.max_tokens, asked, body.logprobs or 0, tiers)
    queries = [_prompted(query, one, tiers) for one in prompts(body.prompt)]
    return _request(body, queries, chat=False, mode=mode, draw_seed=draw_seed)


def _request(
    body: ChatBody | TextBody,
    asked: Sequence[Query],
    *,
    chat: bool,
    mode: StreamMode,
    draw_seed: Callable[[], int],
) -> Request:
    n = body.n or 1
    own = body.escalade
    if body.stream_options is not None and not body.stream:
        raise RefusedError(
            400, "invalid_value", "'stream_options' needs 'stream': true", param="stream_options"
        )
    sampling = _sampling(body, n, draw_seed)
    queries = [
        replace(query, sampling=None if sampling is None else _with_seed(sampling, choice))
        for query in asked
        for choice in range(n)
    ]
    return Request(
        chat=chat,
        model=body.model,
        queries=queries,
        first=[choice == 0 for _ in asked for choice in range(n)],
        stream=body.stream or False,
        include_usage=body.stream_options is not None and body.stream_options.include_usage,
        mode=mode if own is None or own.stream is None else own.stream,
        logprobs=bool(queries[0].logprobs),
    )


def _query(
    body: ChatBody | TextBody, most: int | None, logprobs: bool, top: int, tiers: Sequence[Tier]
) -> Query:
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    try:
        return Query(
            stop=stop,
            max_new_tokens=most,
            logprobs=logprobs,
            top_logprobs=top,
            task="" if body.escalade is None else body.escalade.task,
        )
    except ValueError as error:  # the other fields are in their ranges
        raise RefusedError(400, "invalid_value", str(error), param="stop") from error


def _sampling(body: ChatBody | TextBody, n: int, draw_seed: Callable[[], int]) -> Sampling | None:
    """How tokens are drawn; None: the likeliest, of which thresholds are calibrated."""
    asked = (body.temperature, body.top_p, body.top_k, body.seed)
    if body.temperature == 0 or (n == 1 and all(one is None for one in asked)):
        return None
    return Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=body.top_k or 0,
        seed=(draw_seed() if body.seed is None else body.seed) % _SEEDS,
    )


def _with_seed(sampling: Sampling, choice: int) -> Sampling:
    """Of one of several choices: each has a seed of its own, and all follow from the request's."""
    return Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=(sampling.seed + choice) % _SEEDS,
    )


def _conversed(query: Query, messages: tuple[Message, ...], tiers: Sequence[Tier]) -> Query:
    """A conversation; for models without a chat template one message of the user is its text."""
    members = [one for tier in tiers for one in tier.opened]
    if members and all(one.artifact.chat_template is not None for one in members):
        return replace(query, messages=messages)
    if [one["role"] for one in messages] == ["user"]:
        return replace(query, text=messages[0]["content"])
    without = next((one for one in members if one.artifact.chat_template is None), None)
    who = "the tiers elsewhere are" if without is None else f"{without.info.name} is"
    raise RefusedError(
        400,
        "unsupported_value",
        f"'messages' must be one message of the user, got {len(messages)}: {who} asked without a"
        " chat template",
        param="messages",
    )


def _prompted(query: Query, prompt: str | tuple[int, ...], tiers: Sequence[Tier]) -> Query:
    if isinstance(prompt, str):
        return replace(query, text=prompt)
    reader = next((one for tier in tiers for one in tier.opened if one.fingerprint), None)
    if reader is None:
        raise RefusedError(
            400,
            "unsupported_value",
            "'prompt' must be text: no model here has a tokenizer whose ids it could be",
            param="prompt",
        )
    _check_ids(prompt, reader)
    return replace(query, ids=prompt, tokenizer_fingerprint=reader.fingerprint)


def _check_ids(ids: tuple[int, ...], reader: Member) -> None:
    last = reader.artifact.manifest.model.vocabulary_size - 1
    wrong = next((one for one in ids if one > last), None)
    if wrong is not None:
        message = f"'prompt' must be token ids in [0, {last}], got {wrong}"
        raise RefusedError(400, "invalid_value", message, param="prompt")
