"""Cascades that learn from an expert while they answer a stream (arXiv 2402.04513)."""

from escalade.training.online.configuration import (
    ColumnTable,
    Configuration,
    EncoderTable,
    LinearTable,
    check_configuration,
    read_configuration,
    resolved_levels,
)
from escalade.training.online.experts import CallableExpert, Parser
from escalade.training.online.feed import FeedWriter
from escalade.training.online.following import Follower, Held
from escalade.training.online.record import EVENTS_NAME, Agreement, Event, Result
from escalade.training.online.run import RESULT_NAME, learn_stream
from escalade.training.online.walking import Rung, drawn

__all__ = [
    "EVENTS_NAME",
    "RESULT_NAME",
    "Agreement",
    "CallableExpert",
    "ColumnTable",
    "Configuration",
    "EncoderTable",
    "Event",
    "FeedWriter",
    "Follower",
    "Held",
    "LinearTable",
    "Parser",
    "Result",
    "Rung",
    "check_configuration",
    "drawn",
    "learn_stream",
    "read_configuration",
    "resolved_levels",
]
