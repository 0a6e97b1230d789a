"""What leaves of a query, as the policy sees it, some of it hidden; knows no channel."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from escalade.edge.errors import PromptError
from escalade.edge.policy import Guard, Hidden, Leaving
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.query import Query
from escalade.edge.tiers.tier import Call, Draft
from escalade.v1 import cascade_pb2 as pb

# Of a message, who says it: a template's word, and none of the user's.
_ROLE = "role"


class Outgoing(NamedTuple):
    """A request, and what only its tier knows of it."""

    request: pb.GenerateRequest
    leaving: Leaving
    #: What is hidden in it, to be put back in the answer; None: nothing.
    hidden: Hidden | None


def redacted(
    call: Call, reader: Member | None, guard: Guard | None, tier: str
) -> tuple[Call, Hidden | None]:
    """The same call with what is not to be sent hidden, for the whole query once.

    A draft that holds any of it does not go along: its ids could not.

    Args:
        call: as it came to the tier.
        reader: who reads token ids here; None: nobody.
        guard: the policy; None: there is none.
        tier: the tier's name.

    Raises:
        PolicyError: what is to be hidden cannot be found out, or not be hidden.
        PromptError: the reader cannot take the query.
    """
    if guard is None or not guard.redactor:
        return call, None
    prompts = call.prompts
    if prompts.sent is None:
        prompts.sent = _hidden(prompts, reader, guard, tier)
    sent, hidden = prompts.sent
    draft = call.draft
    if draft is not None and (hidden.is_in(draft.text) or guard.hide(tier, [draft.text]).changed):
        draft = None
    if not hidden.changed:
        return call._replace(draft=draft), None
    return call._replace(query=sent.query, prompts=sent, draft=draft), hidden


def leaving_of(
    call: Call,
    request: pb.GenerateRequest,
    reader: Member | None,
    *,
    tier: str,
    address: str,
    prices: tuple[float, float],
    asked: Prompts,
) -> Leaving:
    """What the policy is told.

    Args:
        call: as it is sent.
        request: of it.
        reader: see `redacted`.
        tier: the tier's name.
        address: where to.
        prices: for a million tokens, read and written.
        asked: the query as it was asked, before anything was hidden: a user is asked once about it.
    """
    texts = _texts_of(call.prompts, reader)
    if texts is not None and request.HasField("draft"):
        draft = call.draft or Draft([], [], "", None, None, "")
        # Ids without their text say nothing here.
        texts = None if draft.ids and not draft.text else [*texts, draft.text]
    return Leaving(
        tier=tier,
        address=address,
        texts=texts,
        task=call.query.task,
        prices=prices,
        request_id=call.query.request_id,
        query=asked,
        cancelled=call.cancelled,
    )


def _hidden(
    prompts: Prompts, reader: Member | None, guard: Guard, tier: str
) -> tuple[Prompts, Hidden]:
    query = prompts.query
    texts = _texts_of(prompts, reader)
    if texts is None:
        raise guard.refused(tier, "token ids of another tokenizer cannot be looked through")
    hidden = guard.hide(tier, texts)
    if not hidden.changed:
        return prompts, hidden
    stop = tuple(hidden.texts[len(texts) - len(query.stop) :])
    try:
        return Prompts(_rewritten(prompts, reader, hidden, stop)), hidden
    except (ValueError, PromptError) as error:
        raise guard.refused(tier, f"it cannot be hidden: {error}") from error


def _rewritten(
    prompts: Prompts, reader: Member | None, hidden: Hidden, stop: tuple[str, ...]
) -> Query:
    query = prompts.query
    if query.messages:
        texts = iter(hidden.texts)
        messages = tuple(
            {key: said if key == _ROLE else next(texts) for key, said in message.items()}
            for message in query.messages
        )
        return replace(query, messages=messages, stop=stop)
    if query.ids and not query.text and not _is_text(prompts, reader):
        raise PromptError("token ids that hold special tokens are no text")
    return replace(query, text=hidden.texts[0], ids=(), tokenizer_fingerprint="", stop=stop)


def _is_text(prompts: Prompts, reader: Member | None) -> bool:
    """Whether token ids are those of their text."""
    if reader is None:
        return False
    read = prompts.of(reader)
    return reader.artifact.encode(read.text) == read.ids


def _texts_of(prompts: Prompts, reader: Member | None) -> list[str] | None:
    """What a query says: its messages or its text, then its stop texts."""
    query = prompts.query
    if query.messages:
        # A template may write any of them.
        said = [text for message in query.messages for key, text in message.items() if key != _ROLE]
    elif query.text or not query.ids:
        said = [query.text]
    elif reader is None:
        return None
    else:
        said = [prompts.of(reader).text]
    return [*said, *query.stop]
