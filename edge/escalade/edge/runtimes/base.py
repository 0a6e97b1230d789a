"""What a runtime is: prompt ids in, tokens with log-probabilities out; knows no text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from escalade.edge.manifest import Manifest


class Step(NamedTuple):
    """One generated token."""

    token_id: int
    #: Natural logarithm, under the small model at temperature 1, out of the same forward pass.
    logprob: float
    #: Whether this token is an end-of-sequence token.
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw tokens; a greedy answer needs none of this.

    The log-probability of a drawn token is the model's own: neither temperature nor the
    cuts of top-k and top-p change it.

    Raises:
        ValueError: a value is out of range.
    """

    #: > 0; logits are divided by it before the cuts.
    temperature: float = 1.0
    #: Keep the k likeliest tokens; 0 keeps all.
    top_k: int = 0
    #: Keep the fewest tokens whose probabilities sum to at least this; in (0, 1].
    top_p: float = 1.0
    #: Same seed, same prompt, same program: same tokens.
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number above 0, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all) or more, got {self.top_k}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")


# Where a prompt's beginning was read by other-shaped kernels, its last bits differ. A short
# one is read anew, so that the same question has the same score whatever was asked before.
_LEAST_REUSE = 16


def reusable(held: Sequence[int], prompt_ids: Sequence[int]) -> int:
    """How many tokens whose keys and values are held serve a prompt; its last is always run.

    Args:
        held: tokens that a cache holds, in order.
        prompt_ids: at least 1.
    """
    pairs = zip(held, prompt_ids[:-1], strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return same if same >= _LEAST_REUSE else 0


class Runtime(Protocol):
    """A program that generates."""

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Step]:
        """Yield a step for each token until the end of sequence or `max_new_tokens`.

        The end-of-sequence token is yielded too, with `ended` set. The caller has checked
        that prompt and response fit into the model's window and every id into its vocabulary,
        and ends one generation before it begins another.

        Args:
            prompt_ids: at least 1.
            max_new_tokens: at least 1.
            sampling: None is greedy.
            cancelled: asked before each chunk of the prompt and before each token; once it
                says so, nothing more is yielded.
        """
        ...


def open_runtime(folder: Path, manifest: Manifest, *, threads: int) -> Runtime:
    """Open the program of an artifact whose files have been checked.

    Raises:
        ArtifactError: the program cannot be loaded, or its graph lacks an input or output.
    """
    if manifest.format == "executorch":
        from escalade.edge.runtimes.executorch_runtime import ExecutorchRuntime

        return ExecutorchRuntime(folder / manifest.program, manifest, threads=threads)
    if manifest.encoder is not None:
        from escalade.edge.runtimes.onnx_encoder_decoder import OnnxEncoderDecoderRuntime

        return OnnxEncoderDecoderRuntime(
            folder / manifest.encoder, folder / manifest.program, manifest, threads=threads
        )
    from escalade.edge.runtimes.onnx_runtime import OnnxRuntime

    return OnnxRuntime(folder / manifest.program, manifest, threads=threads)
