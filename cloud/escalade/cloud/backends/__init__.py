"""What computes answers: the interface, and transformers behind it; knows no gRPC."""

from escalade.cloud.backends.backend import (
    Backend,
    BackendFactory,
    BackendInfo,
    Gauge,
    queue_length,
)
from escalade.cloud.backends.cores import usable_cores
from escalade.cloud.backends.embedded import transformers_factory
from escalade.cloud.backends.fair_order import NOBODY, Claim, FairOrder
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import (
    Answer,
    Delta,
    Query,
    Sampling,
    ScoredBatch,
    ScoreQuery,
    Scores,
    TopRow,
    Verdict,
    agreeing,
)
from escalade.cloud.backends.ticket import Clock, Ticket, deadline_after, refuse_half

__all__ = [
    "NOBODY",
    "Answer",
    "Backend",
    "BackendFactory",
    "BackendInfo",
    "Claim",
    "Clock",
    "Delta",
    "FairOrder",
    "Gauge",
    "Places",
    "Query",
    "Sampling",
    "ScoreQuery",
    "ScoredBatch",
    "Scores",
    "Ticket",
    "TopRow",
    "Verdict",
    "agreeing",
    "deadline_after",
    "queue_length",
    "refuse_half",
    "transformers_factory",
    "usable_cores",
]
