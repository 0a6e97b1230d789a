"""What a server says of its models, and what an operator says in its place; asks no query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from escalade.cloud.backends.openai.server import MODELS, NO_ACCESS, Offer, Upstream, http_status_of
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import ModelError, RequestError
from escalade.v1.quoting import quoted

if TYPE_CHECKING:
    from escalade.cloud.backends.openai.vocabulary import Vocabulary

# Names that a message shows, and characters of what a server calls itself.
_NAMED, _MOST_NAME = 5, 64
# As clients take them: names in traces and on terminals, counts that a float tells apart.
_MOST_ID = 256
_MOST_CONTEXT, _MOST_PARAMETERS = (1 << 31) - 1, 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an operator says of the model; None is the server's to say.

    Attributes:
        model: its name there.
        context_length: tokens, at least 2.
        parameter_count: at least 1.
    """

    model: str | None = None
    context_length: int | None = None
    parameter_count: int | None = None


class _Meta(msgspec.Struct):
    """What llama.cpp says of a model."""

    n_ctx: int | None = None
    n_ctx_train: int | None = None
    n_params: int | None = None


class _Model(msgspec.Struct):
    id: str
    owned_by: str = ""
    #: vLLM's.
    max_model_len: int | None = None
    meta: _Meta | None = None


class _Models(msgspec.Struct):
    data: Sequence[_Model]


class _Version(msgspec.Struct):
    version: str


async def listed(
    upstream: Upstream, vocabulary: Vocabulary | None, told: Told, ticket: Ticket
) -> Offer:
    """What is known of a model before it was asked anything; nothing is offered yet.

    Args:
        upstream: the server.
        vocabulary: of the model, where its folder is here.
        told: what an operator says.
        ticket: until when.

    Raises:
        ModelError: it is not known which is meant, or what it is.
        RequestError: the server does not answer.
    """
    model = await _model(upstream, told, ticket)
    meta = model.meta or _Meta()
    windows = [told.context_length, model.max_model_len, meta.n_ctx, meta.n_ctx_train]
    sizes = [told.parameter_count, meta.n_params]
    if vocabulary is not None:
        windows.append(vocabulary.context_length)
        sizes.append(vocabulary.parameter_count)
    whose = f"{upstream.endpoint.url}: {quoted(model.id)}"
    context_length = _first(windows, "context-length", 2, _MOST_CONTEXT, whose)
    if vocabulary is not None:
        context_length = min(context_length, vocabulary.context_length)
    return Offer(
        model=model.id,
        engine=await _engine(upstream, model, ticket),
        context_length=context_length,
        parameter_count=_first(sizes, "parameters", 1, _MOST_PARAMETERS, whose),
        chat=False,
        streams=False,
        ids=False,
        ids_scored=False,
        max_top_k=0,
    )


def _first(said: Sequence[int | None], option: str, least: int, most: int, whose: str) -> int:
    """The first that somebody said."""
    known = next((one for one in said if one is not None), None)
    if known is None:
        raise ModelError(f"{whose}: the server does not say it: give --{option}")
    if not least <= known <= most:
        raise ModelError(f"{whose}: {option} must be in {least}..{most}, got {known}")
    return known


async def _model(upstream: Upstream, told: Told, ticket: Ticket) -> _Model:
    """Which of its models is meant."""
    url = upstream.endpoint.url
    try:
        said = await upstream.get(url + MODELS, ticket)
        models = msgspec.json.decode(said, type=_Models).data
    except RequestError as error:
        # Some list nothing: `transformers serve` fails where it has no cache of the hub.
        if told.model is None or http_status_of(error) in {None, *NO_ACCESS}:
            raise
        return _Model(told.model)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ModelError(f"{url}{MODELS}: is no list of models; is this the API's URL?") from error
    for one in models:
        if one.id == told.model or (told.model is None and len(models) == 1):
            if len(one.id) > _MOST_ID or not one.id.isprintable():
                raise ModelError(f"{url}: its model must have a name of {_MOST_ID} characters")
            return one
    if told.model is not None:
        return _Model(told.model)  # some serve more than they list; it will be asked
    some = ", ".join(quoted(one.id) for one in models[:_NAMED]) or "none"
    more = f" and {len(models) - _NAMED} more" if len(models) > _NAMED else ""
    raise ModelError(f"{url}: give --model, one of: {some}{more}")


async def _engine(upstream: Upstream, model: _Model, ticket: Ticket) -> str:
    """Who the server is, as far as it says."""
    name = model.owned_by if model.owned_by.isprintable() else ""
    name = name[:_MOST_NAME] or "openai"
    try:
        said = await upstream.get(f"{upstream.endpoint.root}/version", ticket)
        version = msgspec.json.decode(said, type=_Version).version
    except (RequestError, msgspec.MsgspecError, ValueError):
        return name
    return f"{name} {version[:_MOST_NAME]}" if version.isprintable() else name
