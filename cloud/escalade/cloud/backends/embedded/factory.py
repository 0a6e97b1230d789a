"""Backends by the name of what computes in them; torch is imported when one loads, not before."""

from __future__ import annotations

from functools import partial

from escalade.cloud.backends.backend import BackendFactory
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.engine import Engine


def transformers_factory(
    model: str, *, max_new_tokens: int | None = None, threads: int | None = None
) -> BackendFactory:
    """A factory of backends with a `TransformersEngine`.

    Args:
        model: a local folder, or `hub:NAME`.
        max_new_tokens: default and upper bound of a response; None is the context length.
        threads: torch's intra-op threads; None leaves torch's default.
    """

    def load() -> Engine:
        from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine

        return TransformersEngine.load(model, max_new_tokens=max_new_tokens, threads=threads)

    return partial(EmbeddedBackend, load)
