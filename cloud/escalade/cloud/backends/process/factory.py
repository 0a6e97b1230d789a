"""Makes backends whose engine has a process of its own."""

from __future__ import annotations

from collections.abc import Callable

from escalade.cloud.backends.backend import Backend, BackendFactory
from escalade.cloud.backends.process.messages import Settings
from escalade.cloud.backends.process.supervised import Supervised
from escalade.cloud.backends.replicas import ReplicatedBackend
from escalade.cloud.backends.ticket import Clock


def process_factory(
    model: str,
    *,
    max_new_tokens: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    deterministic: bool = False,
    kv_bytes: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    before: str = "",
) -> BackendFactory:
    """A factory of backends that compute with transformers in a process of their own.

    So what computes keeps no interpreter from the server, which refuses, streams and is watched
    while a step lasts; and where the engine's process ends, what it was computing is computed by
    the next. POSIX only.

    Args:
        model: see `transformers_factory`, as all that follow but the last.
        max_new_tokens: see there.
        threads: see there.
        device: see there.
        dtype: see there.
        deterministic: see there.
        kv_bytes: see there.
        say: told in a line what the engine says as it loads.
        before: `module:function` that is called in the process before anything is loaded.
    """
    settings = Settings(
        model, max_new_tokens, threads, device, dtype, deterministic, kv_bytes, before
    )

    def make(*, queue_capacity: int, clock: Clock) -> Backend:
        replicas = Supervised(settings, say)
        return ReplicatedBackend(replicas, queue_capacity=queue_capacity, clock=clock)

    return make
