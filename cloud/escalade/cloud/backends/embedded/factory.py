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
    device: str = "auto",
    dtype: str = "auto",
    deterministic: bool = False,
    kv_bytes: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> BackendFactory:
    """A factory of backends that compute with transformers in this process.

    Args:
        model: a local folder, or `hub:NAME`.
        max_new_tokens: default and upper bound of a response; None is the context length.
        threads: torch's intra-op threads; None leaves torch's default.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; see `placement_of`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; see `placement_of`.
        deterministic: one query at a time, so that equal prompts with equal drafts give equal
            answers, bit for bit; otherwise many are computed together, and what stands beside
            a query may change the last bits of its log-probabilities.
        kv_bytes: of the KV cache of the queries that are computed together; None is what they
            need, or a quarter of the free memory where that is less.
        say: told in a line where the model is, and in another what was allocated beside it.

    The factory raises `ModelError` where there is no such folder, or it is no model's.
    """

    def load() -> TransformersEngine:
        from escalade.cloud.backends.embedded.packing import pack
        from escalade.cloud.backends.embedded.placement import placed
        from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine

        engine = TransformersEngine.load(
            model,
            max_new_tokens=max_new_tokens,
            threads=threads,
            device=device,
            dtype=dtype,
            deterministic=deterministic,
        )
        say(placed(engine.network) + (", one query at a time" if deterministic else ""))
        if not deterministic:
            pack(engine.network)
        return engine

    def make(*, queue_capacity: int, clock: Clock) -> Backend:
        from escalade.checkpoint import check_model
        from escalade.cloud.backends.sight import refuse_at_sight

        refuse_at_sight(check_model, model)
        if deterministic:
            return EmbeddedBackend(load, queue_capacity=queue_capacity, clock=clock)
        from escalade.cloud.backends.embedded.batched import BatchedBackend

        return BatchedBackend(
            load, queue_capacity=queue_capacity, clock=clock, kv_bytes=kv_bytes, say=say
        )

    return make
