"""What computes answers: the interface, and transformers behind it; knows no gRPC."""

from escalade.cloud.backends.engine import (
    Answer,
    EngineFactory,
    EngineInfo,
    Query,
    ScoreQuery,
    Scores,
)
from escalade.cloud.backends.factory import transformers_factory
from escalade.cloud.backends.worker import Clock, Finished, Ticket, Worker, deadline_after

__all__ = [
    "Answer",
    "Clock",
    "EngineFactory",
    "EngineInfo",
    "Finished",
    "Query",
    "ScoreQuery",
    "Scores",
    "Ticket",
    "Worker",
    "deadline_after",
    "transformers_factory",
]
