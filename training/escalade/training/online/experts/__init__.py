"""Who labels what a cascade defers to the end; knows no level and no file."""

from escalade.training.online.experts.expert import (
    CallableExpert,
    Expert,
    ExpertError,
    RecordedExpert,
)
from escalade.training.online.experts.parsing import Parser
from escalade.training.online.experts.server import ServerExpert

__all__ = [
    "CallableExpert",
    "Expert",
    "ExpertError",
    "Parser",
    "RecordedExpert",
    "ServerExpert",
]
