"""The device's half of a cascade: open an artifact, generate, score, decide, defer, remember.

Loads neither torch nor transformers. A name is loaded when it is asked for: who opens an artifact
alone has no tiers, policies and wire in memory (4 MB, `python -m benchmarks.resident`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

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

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            return _module(name)
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found  # asked for once
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})

    def _module(name: str) -> object:
        """One of the package, which is there whether or not somebody has imported it."""
        whole = f"{__name__}.{name}"
        if not name.startswith("_"):  # `__init__` would be this very file again
            try:
                return import_module(whole)
            except ModuleNotFoundError as error:
                if error.name != whole:
                    raise  # it is there, and what it imports is not
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
