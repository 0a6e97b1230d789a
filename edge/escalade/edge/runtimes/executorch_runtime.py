"""Runs an ExecuTorch artifact (.pte); knows no text, no network.

The one place on the edge that imports torch: ExecuTorch's own Python package does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from escalade.edge.errors import ArtifactError
from escalade.edge.manifest import Manifest
from escalade.edge.runtimes.base import Sampling, Step

try:
    import torch
    from executorch.runtime import Runtime as _Library
    from executorch.runtime import Verification
except ImportError as error:
    raise ArtifactError(
        "this artifact holds an ExecuTorch program: install the extra, pip install"
        f" 'escalade[executorch]' ({error})"
    ) from error

_METHOD = "forward"


class ExecutorchRuntime:
    """Greedy generation with the static cache inside the program."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program.

        Args:
            program: the .pte file.
            manifest: checked by the caller.
            threads: of torch; 0 leaves the choice to it. XNNPACK has a pool of its own.

        Raises:
            ArtifactError: the program cannot be loaded or has no `forward`.
        """
        if threads:
            torch.set_num_threads(threads)
        try:
            loaded = _Library.get().load_program(
                program, verification=Verification.InternalConsistency
            )
            method = loaded.load_method(_METHOD)
        except (RuntimeError, OSError) as error:
            raise ArtifactError(f"{program}: ExecuTorch cannot load it: {error}") from error
        if method is None:
            raise ArtifactError(f"{program}: the program has no method {_METHOD!r}")
        self._program = loaded  # the method does not keep its program alive
        self._method = method
        self._end_ids = frozenset(manifest.model.end_of_sequence_ids)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        new_ids, position = list(prompt_ids), 0
        for _ in range(max_new_tokens):
            token, logprob = self._method.execute(
                [
                    torch.tensor([new_ids], dtype=torch.int64),
                    torch.arange(position, position + len(new_ids), dtype=torch.int64),
                ]
            )
            position += len(new_ids)
            token_id = int(token.item())
            ended = token_id in self._end_ids
            yield Step(token_id, float(logprob.item()), ended)
            if ended:
                return
            new_ids = [token_id]
