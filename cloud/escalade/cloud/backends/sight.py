"""Refuses a model at sight, before what loads it is loaded; knows no engine, no server."""

from __future__ import annotations

from collections.abc import Callable

from escalade.checkpoint import CheckpointError
from escalade.cloud.errors import ModelError


def refuse_at_sight(check: Callable[[str], None], model: str) -> None:
    """Look at a model's folder as a check does, before torch is loaded, which takes seconds.

    Raises:
        ModelError: the check has refused it.
    """
    try:
        check(model)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
