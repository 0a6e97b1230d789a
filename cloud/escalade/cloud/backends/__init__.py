"""What computes answers: the interface, and what stands behind it; knows no gRPC."""

from escalade.cloud.backends.backend import (
    Backend,
    BackendFactory,
    BackendInfo,
    Gauge,
    queue_length,
)
from escalade.cloud.backends.cores import usable_cores
from escalade.cloud.backends.drafts import ACCEPTANCE_RULES, RULES_OF_THE_DRAFT
from escalade.cloud.backends.embedded import transformers_factory
from escalade.cloud.backends.fair_order import NOBODY, Claim, FairOrder
from escalade.cloud.backends.openai import OPENAI_SCHEME, openai_factory
from escalade.cloud.backends.places import Places
from escalade.cloud.backends.process import process_factory
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
from escalade.cloud.backends.replicas import Scaling, ray_factory
from escalade.cloud.backends.ticket import Clock, Ticket, deadline_after, refuse_half

__all__ = [
    "ACCEPTANCE_RULES",
    "NOBODY",
    "OPENAI_SCHEME",
    "RULES_OF_THE_DRAFT",
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
    "Scaling",
    "ScoreQuery",
    "ScoredBatch",
    "Scores",
    "Ticket",
    "TopRow",
    "Verdict",
    "agreeing",
    "deadline_after",
    "openai_factory",
    "process_factory",
    "queue_length",
    "ray_factory",
    "refuse_half",
    "transformers_factory",
    "usable_cores",
]
