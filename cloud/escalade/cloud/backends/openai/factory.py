"""Backends that ask an OpenAI-compatible server; torch is imported when a tokenizer is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from escalade.cloud.backends.backend import Backend, BackendFactory
from escalade.cloud.backends.openai.server import Upstream, endpoint_of
from escalade.cloud.backends.ticket import Clock
from escalade.cloud.errors import ModelError

if TYPE_CHECKING:
    from escalade.cloud.backends.openai.vocabulary import Vocabulary

# As many as the embedded engine computes together.
_AT_ONCE = 64


def openai_factory(
    url: str,
    *,
    model: str | None = None,
    tokenizer: str | None = None,
    api_key_file: Path | None = None,
    context_length: int | None = None,
    parameters: int | None = None,
    at_once: int | None = None,
) -> BackendFactory:
    """A factory of backends that ask another server.

    Args:
        url: of its API, e.g. `http://127.0.0.1:8000/v1`; `https://` off loopback.
        model: its name there; None where there is one.
        tokenizer: folder of the model, or `hub:NAME`, weights not needed; None asks it in text
            alone.
        api_key_file: holds the key; not readable by everybody.
        context_length: longest prompt plus response, where the server does not say it.
        parameters: of the model, where neither server nor folder say it.
        at_once: requests that are under way there at one time, at least 1; None is 64.

    Raises:
        ModelError: the URL or the key's file is not taken; or the tokenizer's folder is none.
    """
    endpoint = endpoint_of(url, api_key_file)
    most = _AT_ONCE if at_once is None else at_once
    if most < 1:
        raise ModelError(f"at_once: must be at least 1, got {most}")

    if tokenizer is not None:
        from escalade.checkpoint import check_settings
        from escalade.cloud.backends.sight import refuse_at_sight

        refuse_at_sight(check_settings, tokenizer)

    def read() -> Vocabulary:
        from escalade.cloud.backends.openai.vocabulary import read_vocabulary

        assert tokenizer is not None  # noqa: S101 - else it is not called
        return read_vocabulary(tokenizer)

    def make(*, queue_capacity: int, clock: Clock) -> Backend:
        from escalade.cloud.backends.openai.backend import OpenAIBackend
        from escalade.cloud.backends.openai.listing import Told

        return OpenAIBackend(
            lambda: Upstream(endpoint, at_once=most),
            None if tokenizer is None else read,
            Told(model=model, context_length=context_length, parameter_count=parameters),
            at_once=most,
            queue_capacity=queue_capacity,
            clock=clock,
        )

    return make
