"""Computes each request once, and lets a cut stream go on; knows no backend, no gRPC."""

from escalade.cloud.rpcs.once.once import SharedAnswers
from escalade.cloud.rpcs.once.resuming import keep_s_of, received_of

__all__ = [
    "SharedAnswers",
    "keep_s_of",
    "received_of",
]
