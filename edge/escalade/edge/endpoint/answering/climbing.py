"""One choice of a request, answered in a thread of its own; knows no HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from escalade.edge.answer import Answer
from escalade.edge.client import EdgeClient
from escalade.edge.endpoint.answering.readers import Readers, Waiting
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
from escalade.edge.run import Run
from escalade.edge.tiers import Member, Query, Tier

_LOG = logging.getLogger(__name__)

#: A model on this device that has a tokenizer, by its fingerprint; None where none has.
ReaderOf = Callable[[str], "Member | None"]


def climb(
    client: EdgeClient,
    query: Query,
    reader_of: ReaderOf,
    cancelled: Callable[[], bool],
    *,
    readers: Readers,
    waiting: Waiting,
    param: str,
    mode: StreamMode = "hold",
    show: Show | None = None,
) -> Finished | None:
    """Answer a query.

    Args:
        client: of a cascade that several threads may ask.
        query: of one choice.
        reader_of: who knows the tokens of a tokenizer, by its fingerprint.
        cancelled: asked while it is answered.
        readers: where the reader of a stream may be asked.
        waiting: a block in which he is waited for.
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
        with readers.reading(query, show, waiting) as asked:
            run = client.stream(
                asked, cancelled=cancelled, told=None if showing is None else showing.told
            )
            if showing is not None:
                for delta in run:
                    showing.delta(run.speaking, delta)
            answer = run.finish()
        if answer is None:
            return None
        finished = _finished(client, run, answer, query, reader_of)
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
    client: EdgeClient, run: Run, answer: Answer, query: Query, reader_of: ReaderOf
) -> Finished:
    known = decision(answer, client.cascade)
    if not query.logprobs:
        return Finished(answer, None, known)
    tokens = _tokens(run, answer, query, reader_of)
    if isinstance(tokens, str):
        known["no_logprobs"] = f"tier {answer.tier!r} {tokens}"
        return Finished(answer, None, known)
    if query.top_logprobs and tokens and not any(token.top for token in tokens):
        known["no_top_logprobs"] = (
            f"tier {answer.tier!r} had not said that it gives any when it was asked, as before a"
            " user's first consent"
        )
    return Finished(answer, tokens, known)


def _tokens(run: Run, answer: Answer, query: Query, reader_of: ReaderOf) -> Sequence[Token] | str:
    """The answer's, with the log-probabilities that its model gave; or why there are none."""
    said = run.said[answer.answered_by]
    assert said is not None  # noqa: S101 - its answer stands
    source = said.source
    if not source.tokenizer_fingerprint and source.logprobs and not source.ids:
        classes = next(
            (one.classes for one in answer.said.members if one.classes is not msgspec.UNSET), {}
        )
        return [label_token(answer.text, source.logprobs[0], classes, query.top_logprobs)]
    reader = reader_of(source.tokenizer_fingerprint)
    if reader is None or len(source.logprobs) < len(source.ids):
        return "sent no tokens that are known here"
    # Here or at a gateway, a policy puts back in the text what it had hidden: no token has that.
    if answer.place != "device":
        spelled = reader.artifact.decode(list(source.ids))
        if not spelled.startswith(answer.text):
            return "gave tokens that do not spell its text, as where a policy hid parts of a query"
    tokens = Tokens(reader.artifact.token_texts)
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
