"""Engines behind the one protocol; the only place of the cloud where torch may be imported."""

from __future__ import annotations

from escalade.cloud.backends.engine import Engine, EngineFactory


def transformers_factory(
    model: str, *, max_new_tokens: int | None = None, threads: int | None = None
) -> EngineFactory:
    """A factory of `TransformersEngine`; imports torch when it is called, not before.

    Args:
        model: a local folder or a hub name.
        max_new_tokens: default and upper bound of a response; None is the context length.
        threads: torch's intra-op threads; None leaves torch's default.
    """

    def load() -> Engine:
        from escalade.cloud.backends.transformers_engine import TransformersEngine

        return TransformersEngine.load(model, max_new_tokens=max_new_tokens, threads=threads)

    return load
