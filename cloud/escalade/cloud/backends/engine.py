"""What the service asks of an engine; knows no engine, no torch, no gRPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from escalade.v1 import cascade_pb2 as pb

#: Asked before each token: why to stop now (deadline, cancelled), or None to go on.
ShouldStop = Callable[[], "pb.StopReason | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Who computes, and within which limits."""

    name: str
    #: sha256 over the weight files.
    revision: str
    tokenizer_fingerprint: str
    #: The engine's name and version, e.g. `transformers 5.23.0`.
    engine: str
    parameter_count: int
    vocabulary_size: int
    #: Longest prompt plus response, in tokens.
    context_length: int
    end_of_sequence_ids: tuple[int, ...]
    #: Default and upper bound of `Query.max_new_tokens`.
    max_new_tokens: int
    #: Upper bound of `Engine.score`'s top_k.
    max_top_k: int

    @property
    def identity(self) -> pb.ModelIdentity:
        """Name, revision and tokenizer, as they travel."""
        return pb.ModelIdentity(
            name=self.name,
            revision=self.revision,
            tokenizer_fingerprint=self.tokenizer_fingerprint,
        )


@dataclass(frozen=True, slots=True)
class Query:
    """A query x, already checked against `EngineInfo`."""

    #: `(P,)` with 1 <= P < context_length, every special token included.
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    stop_sequences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A response y, with the end-of-sequence token kept apart.

    Attributes:
        token_ids: `(N,)` without the end-of-sequence token.
        logprobs: natural logarithms, `(N,)`, or `(N + 1,)` where `end_id` was chosen.
        margins: top-1 minus top-2 log-probability, shaped like `logprobs`.
        end_id: the end-of-sequence token that closed the response, or None.
        generated_tokens: tokens computed, those cut off after a stop sequence included.
    """

    token_ids: list[int]
    logprobs: list[float]
    margins: list[float]
    end_id: int | None
    text: str
    stop_reason: pb.StopReason
    generated_tokens: int

    @property
    def chosen_ids(self) -> list[int]:
        """`token_ids` and `end_id`: every choice that `logprobs` speaks of."""
        return self.token_ids if self.end_id is None else [*self.token_ids, self.end_id]


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """A query x and a given response y, already checked against `EngineInfo`."""

    #: `(P,)`, P >= 1, every special token included.
    prompt_ids: tuple[int, ...]
    #: `(N,)`, N >= 1, with P + N <= context_length.
    response_ids: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens of prompt and response together."""
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says of one given response, each token after those before it.

    Attributes:
        argmax: `(N,)` int32, the greedy choice; the lowest id where logits tie.
        response_logprobs: `(N,)` float32, natural logarithms, of the response's own tokens.
        top_ids: `(N, k)` int32, best first.
        top_logprobs: `(N, k)` float32.
    """

    argmax: NDArray[np.int32]
    response_logprobs: NDArray[np.float32]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]


class Engine(Protocol):
    """Computes greedy responses, one at a time, and scores given ones, a batch at a time."""

    @property
    def info(self) -> EngineInfo:
        """Who computes; constant."""
        ...

    def encode(self, text: str) -> Sequence[int]:
        """Token ids of a prompt, special tokens added; may be called from any thread."""
        ...

    def generate(self, query: Query, should_stop: ShouldStop) -> Answer:
        """The greedy response; asks `should_stop` before every token."""
        ...

    def score(self, queries: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        """The scores of each query's response, in one batch; 0 <= top_k <= info.max_top_k."""
        ...


#: Loads an engine; called once, in the engine's own thread.
EngineFactory = Callable[[], Engine]
