"""Cascades that learn from an expert while they answer a stream (arXiv 2402.04513)."""

from escalade.training.online.configuration import Configuration, read_configuration
from escalade.training.online.experts import CallableExpert
from escalade.training.online.record import EVENTS_NAME, Agreement, Event, Result
from escalade.training.online.run import RESULT_NAME, learn_stream

__all__ = [
    "EVENTS_NAME",
    "RESULT_NAME",
    "Agreement",
    "CallableExpert",
    "Configuration",
    "Event",
    "Result",
    "learn_stream",
    "read_configuration",
]
