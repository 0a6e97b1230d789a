"""How many replicas, and what each has; knows no Ray."""

from __future__ import annotations

from dataclasses import dataclass

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
