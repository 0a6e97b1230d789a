"""One choice of a request, answered in a thread of its own; knows no HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from escalade.edge.answer import Answer
from escalade.edge.client import EdgeClient
from escalade.edge.endpoint.answering.showing import Show, Showing
from escalade.edge.endpoint.openai import (
    Finished,
    StreamMode,
    Token,
    Tokens,
    decision,
    label_token,
    unsupported,
)
from escalade.edge.errors import (
    ArtifactError,
    CloudError,
    EdgeError,
    PromptError,
    RefusedError,
    TooLongError,
)
from escalade.edge.generation import TokenTexts
from escalade.edge.run import Run
from escalade.edge.tiers import Query, Tier

_LOG = logging.getLogger(__name__)

#: What the tokens of a tokenizer are, by its fingerprint; None where it is not known.
TextsOf = Callable[[str], "TokenTexts | None"]


def climb(
    client: EdgeClient,
    query: Query,
    texts_of: TextsOf,
    cancelled: Callable[[], bool],
    *,
    param: str,
    mode: StreamMode = "hold",
    show: Show | None = None,
) -> Finished | None:
    """Answer a query.

    Args:
        client: of a cascade that several threads may ask.
        query: of one choice.
        texts_of: what the tokens of a tokenizer are, by its fingerprint.
        cancelled: asked while it is answered.
        param: the field of the request that it came in.
        mode: how what is shown and deferral go together.
        show: called with what a stream's reader is to see, the answer last; None: nobody reads.

    Returns:
        None where it was cancelled.

    Raises:
        RefusedError: it cannot be answered, in OpenAI's words.
    """
    try:
        showing = None
        if show is not None:
            showing = Showing(client.cascade, mode, show, logprobs=query.logprobs)
        if query.top_logprobs:
            _check_top(client.cascade.tiers, query, param)
        run = client.stream(
            query, cancelled=cancelled, told=None if showing is None else showing.told
        )
        if showing is not None:
            for delta in run:
                showing.delta(run.speaking, delta)
        answer = run.finish()
        if answer is None:
            return None
        finished = _finished(client, run, answer, query, texts_of)
        if showing is not None:
            showing.end(finished)
    except RefusedError:
        raise
    except EdgeError as error:
        raise _refusal(error, param) from error
    except Exception as error:
        # A defect of ours is the end of this answer alone, and is said: nobody waits for ever.
        _LOG.exception("a query could not be answered")
        kind = type(error).__name__
        raise RefusedError(500, "internal_error", f"a defect of escalade: {kind}") from error
    return finished


def _finished(
    client: EdgeClient, run: Run, answer: Answer, query: Query, texts_of: TextsOf
) -> Finished:
    known = decision(answer, client.cascade)
    tokens = _tokens(run, answer, query, texts_of) if query.logprobs else None
    if query.logprobs and tokens is None:
        known["no_logprobs"] = f"tier {answer.tier!r} sent no tokens that are known here"
    return Finished(answer, tokens, known)


def _tokens(run: Run, answer: Answer, query: Query, texts_of: TextsOf) -> Sequence[Token] | None:
    """The answer's, with the log-probabilities that its model gave; None where it gave none."""
    said = run.said[answer.answered_by]
    assert said is not None  # noqa: S101 - its answer stands
    source = said.source
    if not source.tokenizer_fingerprint and source.logprobs and not source.ids:
        classes = next(
            (one.classes for one in answer.said.members if one.classes is not msgspec.UNSET), {}
        )
        return [label_token(answer.text, source.logprobs[0], classes, query.top_logprobs)]
    texts = texts_of(source.tokenizer_fingerprint)
    if texts is None or len(source.logprobs) < len(source.ids):
        return None
    tokens = Tokens(texts)
    for place, token_id in enumerate(source.ids):
        top = source.top[place] if source.top else ()
        tokens.add(token_id, source.logprobs[place], top)
    return tokens.take(answer.text, ended=answer.stop != "stop")


def _check_top(tiers: Sequence[Tier], query: Query, param: str) -> None:
    """Refuse what a tier that may answer cannot give; one out of reach now gives no answer."""
    for tier in tiers:
        try:
            most = tier.most_top()
        except CloudError:
            continue
        if query.top_logprobs > most:
            raise unsupported(
                "top_logprobs" if param == "messages" else "logprobs",
                f"tier {tier.name!r} ({tier.place}) gives at most {most} tokens beside the one it"
                f" chose, got {query.top_logprobs}; the chosen token's log-probability is given",
            )


def _refusal(error: EdgeError, param: str) -> RefusedError:
    """What is said of a query that has no answer."""
    if isinstance(error, TooLongError):
        return RefusedError(400, "context_length_exceeded", str(error), param=param)
    if isinstance(error, PromptError):
        return RefusedError(400, "invalid_prompt", str(error), param=param)
    if isinstance(error, CloudError):
        status = 400 if error.cause == "query" else 503
        return RefusedError(status, error.reason.lower(), str(error))
    if isinstance(error, ArtifactError):
        return RefusedError(500, "model_error", str(error))
    return RefusedError(500, "internal_error", str(error))
