"""Backends by the name of what computes in them; torch is imported when one loads, not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from escalade.cloud.backends.backend import Backend, BackendFactory
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.ticket import Clock

if TYPE_CHECKING:
    from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine


def transformers_factory(
    model: str,
    *,
    max_new_tokens: int | None = None,
    threads: int | None = None,
    deterministic: bool = False,
    kv_bytes: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> BackendFactory:
    """A factory of backends that compute with transformers in this process.

    Args:
        model: a local folder, or `hub:NAME`.
        max_new_tokens: default and upper bound of a response; None is the context length.
        threads: torch's intra-op threads; None leaves torch's default.
        deterministic: one query at a time, so that equal prompts with equal drafts give equal
            answers, bit for bit; otherwise many are computed together, and what stands beside
            a query may change the last bits of its log-probabilities.
        kv_bytes: of the KV cache of the queries that are computed together; None is what they
            need, or a quarter of the free memory where that is less.
        say: told in a line what was allocated.
    """

    def load() -> TransformersEngine:
        from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine

        return TransformersEngine.load(model, max_new_tokens=max_new_tokens, threads=threads)

    def make(*, queue_capacity: int, clock: Clock) -> Backend:
        if deterministic:
            return EmbeddedBackend(load, queue_capacity=queue_capacity, clock=clock)
        from escalade.cloud.backends.embedded.batched import BatchedBackend

        return BatchedBackend(
            load, queue_capacity=queue_capacity, clock=clock, kv_bytes=kv_bytes, say=say
        )

    return make
