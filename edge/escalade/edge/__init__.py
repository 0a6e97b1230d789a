"""The device's half of a cascade: open an artifact, generate, score, decide, defer, remember.

Loads neither torch nor transformers.
"""

from escalade.edge.answer import Answer
from escalade.edge.cascade import Cascade
from escalade.edge.chat import Chat
from escalade.edge.client import EdgeClient
from escalade.edge.errors import EdgeError
from escalade.edge.generation import Artifact
from escalade.edge.opening import OpenOptions
from escalade.edge.runtimes import Sampling
from escalade.edge.tiers import Query

__all__ = [
    "Answer",
    "Artifact",
    "Cascade",
    "Chat",
    "EdgeClient",
    "EdgeError",
    "OpenOptions",
    "Query",
    "Sampling",
]
