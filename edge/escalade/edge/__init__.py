"""The device's half of a cascade: open an artifact, generate, score, decide, defer, remember.

Loads neither torch nor transformers. A name is loaded when it is asked for: who opens an artifact
alone has no tiers, policies and wire in memory (4 MB, `python -m benchmarks.resident`).
"""

from typing import TYPE_CHECKING

from escalade.v1.lazy import lazy

if TYPE_CHECKING:
    from escalade.edge.answer import Answer
    from escalade.edge.cascade import Cascade
    from escalade.edge.chat import Chat
    from escalade.edge.client import EdgeClient
    from escalade.edge.errors import EdgeError
    from escalade.edge.generation import Artifact
    from escalade.edge.opening import OpenOptions
    from escalade.edge.runtimes import Sampling
    from escalade.edge.tiers import Query
else:
    _HOMES = {
        "Answer": "answer",
        "Artifact": "generation",
        "Cascade": "cascade",
        "Chat": "chat",
        "EdgeClient": "client",
        "EdgeError": "errors",
        "OpenOptions": "opening",
        "Query": "tiers",
        "Sampling": "runtimes",
    }

    __getattr__, __dir__ = lazy(__name__, _HOMES)


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
