"""Makes backends of Ray; it is imported when one is made, not before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from escalade.cloud.backends.backend import Backend, BackendFactory
from escalade.cloud.backends.ticket import Clock
from escalade.cloud.errors import StartError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many replicas, and what each has.

    Attributes:
        least: replicas at least, at least 1.
        most: replicas at most.
        cores: of one replica, and threads of torch in it.
        gpus: of one replica; parts of one may be shared.
        queries: under way in one replica when another is wanted.
    """

    least: int = 1
    most: int = 1
    cores: int = 1
    gpus: float = 0.0
    queries: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise StartError(
                "replicas: must be LEAST:MOST with 1 <= LEAST <= MOST,"
                f" got {self.least}:{self.most}"
            )


def ray_factory(
    model: str,
    *,
    cluster: str | None = None,
    scaling: Scaling | None = None,
    device: str = "auto",
    dtype: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> BackendFactory:
    """A factory of backends whose model is held by replicas of Ray Serve.

    Args:
        model: a folder that every node has, or `hub:NAME`.
        cluster: `HOST:PORT` of a cluster that runs already, or `auto`; None starts one here, which
            ends with the server.
        scaling: see `Scaling`.
        device: of each replica, as the next; see `transformers_factory`.
        dtype: see there.
        say: told in a line what was started.
    """

    def make(*, queue_capacity: int, clock: Clock) -> Backend:
        from escalade.cloud.backends.replicas.backend import RayBackend

        return RayBackend(
            model,
            cluster=cluster,
            scaling=scaling or Scaling(),
            device=device,
            dtype=dtype,
            queue_capacity=queue_capacity,
            clock=clock,
            say=say,
        )

    return make
