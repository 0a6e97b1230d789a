"""What the embedded backend asks of an engine, which blocks; knows no engine, no torch, no loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.query import Answer, Delta, Query, ScoreQuery, Scores
from escalade.v1 import cascade_pb2 as pb

#: Asked before each token: why to stop now (deadline, cancelled), or None to go on.
ShouldStop = Callable[[], "pb.StopReason | None"]
#: Takes what has been generated since the last time; from any thread.
Emit = Callable[[Delta], None]


class Engine(Protocol):
    """Computes responses, one at a time, and scores given ones, a batch at a time."""

    @property
    def info(self) -> BackendInfo:
        """Who computes; constant. Queue, capabilities and tiers are the backend's to say."""
        ...

    def encode(self, text: str, *, special_tokens: bool = True) -> Sequence[int]:
        """Token ids of a prompt, or of a draft without special tokens; from any thread."""
        ...

    def generate(self, query: Query, should_stop: ShouldStop, emit: Emit | None = None) -> Answer:
        """The response: greedy, or drawn as the query says.

        Args:
            query: with ids.
            should_stop: asked before every token.
            emit: takes what is sure of the response, token by token; None where nobody reads.
        """
        ...

    def score(self, queries: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        """The scores of each query's response, in one batch; 0 <= top_k <= info.max_top_k."""
        ...


#: Loads an engine; called once, in the engine's own thread.
EngineFactory = Callable[[], Engine]
