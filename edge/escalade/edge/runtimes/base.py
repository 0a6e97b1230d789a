"""What a runtime is: prompt ids in, greedy tokens with log-probabilities out; knows no text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from escalade.edge.manifest import Manifest


class Step(NamedTuple):
    """One generated token."""

    token_id: int
    #: Natural logarithm, under the small model, out of the same forward pass.
    logprob: float
    #: Whether this token is an end-of-sequence token.
    ended: bool


class Runtime(Protocol):
    """A program that generates greedily."""

    def generate(self, prompt_ids: Sequence[int], max_new_tokens: int) -> Iterator[Step]:
        """Yield a step for each token until the end of sequence or `max_new_tokens`.

        The end-of-sequence token is yielded too, with `ended` set. The caller has checked
        that prompt and response fit into the model's window.
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
    from escalade.edge.runtimes.onnx_runtime import OnnxRuntime

    return OnnxRuntime(folder / manifest.program, manifest, threads=threads)
