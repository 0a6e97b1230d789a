"""What computes answers: the interface, and transformers behind it; knows no gRPC."""

from escalade.cloud.backends.backend import Backend, BackendFactory, BackendInfo
from escalade.cloud.backends.cores import usable_cores
from escalade.cloud.backends.embedded import transformers_factory
from escalade.cloud.backends.fair_order import NOBODY, Claim, FairOrder
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.query import (
    Answer,
    Delta,
    Query,
    ScoredBatch,
    ScoreQuery,
    Scores,
    Verdict,
    agreeing,
)
from escalade.cloud.backends.replicas import Scaling, ray_factory
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
    "Places",
    "Query",
    "Scaling",
    "ScoreQuery",
    "ScoredBatch",
    "Scores",
    "Ticket",
    "Verdict",
    "agreeing",
    "deadline_after",
    "ray_factory",
    "refuse_half",
    "transformers_factory",
    "usable_cores",
]
