"""Makes backends of Ray; it is imported when one is made, not before."""

from __future__ import annotations

from collections.abc import Callable

from escalade.cloud.backends.backend import Backend, BackendFactory
from escalade.cloud.backends.replicas.front import ReplicatedBackend
from escalade.cloud.backends.replicas.scaling import Scaling
from escalade.cloud.backends.ticket import Clock


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

    The factory raises `ModelError` where the folder is none, and no cluster runs.
    """

    def make(*, queue_capacity: int, clock: Clock) -> Backend:
        from escalade.checkpoint import check_model
        from escalade.cloud.backends.sight import refuse_at_sight

        if cluster is None:  # the nodes of another have folders of their own
            refuse_at_sight(check_model, model)
        from escalade.cloud.backends.replicas.ray_replicas import RayReplicas

        replicas = RayReplicas(
            model,
            cluster=cluster,
            scaling=scaling or Scaling(),
            device=device,
            dtype=dtype,
            say=say,
        )
        return ReplicatedBackend(replicas, queue_capacity=queue_capacity, clock=clock)

    return make
