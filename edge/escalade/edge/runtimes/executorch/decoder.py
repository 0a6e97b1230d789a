"""Runs an ExecuTorch artifact (.pte); knows no text, no network.

The one place on the edge that imports torch: ExecuTorch's own Python package does. Keys and
values live inside the program, in one cache that both of its methods read and write. To go
back in the text is to say a smaller position: a prompt that begins as the last one did is
only read from where it differs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import ReadsNoDraft, Step, likeliest_of, reusable, steps_of
from escalade.edge.runtimes.executorch.native_messages import without_messages
from escalade.edge.runtimes.program import FORWARD, SCORE
from escalade.edge.runtimes.sampling import Sampling

_level = logging.root.manager.disable
logging.disable(logging.WARNING)  # torchao, which executorch imports, reports what it lacks
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # executorch calls its own bindings experimental
        # These two register operators: of rounded embeddings, and of attention.
        import executorch.kernels.quantized  # noqa: F401
        import torch
        from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Method, Verification
        from executorch.runtime import Runtime as _Library
except ImportError as error:
    raise ArtifactError(
        "this artifact holds an ExecuTorch program: install the extra, pip install"
        f" 'escalade[executorch]' ({error})"
    ) from error
finally:
    logging.disable(_level)

# Constant methods of the program; see `escalade.export.executorch.program`.
_LONGEST_CHUNK, _WINDOW = "get_max_seq_len", "get_max_context_len"
# What ExecuTorch 1.5 tells of the processor when it counts its cores, five lines on x86-64, and
# of the pool when it is set.
_NOISE = (b"[cpuinfo_utils.cpp:", b"[threadpool.cpp:")


class ExecutorchRuntime(ReadsNoDraft):
    """Generation with the cache inside the program."""

    _pool_set: ClassVar[bool] = False

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program.

        Args:
            program: the .pte file.
            manifest: checked by the caller.
            threads: of ExecuTorch's pool, which all programs of a process share: the first
                one opened sets it. 0 leaves the choice to ExecuTorch.

        Raises:
            ArtifactError: the program cannot be loaded, lacks a method or is of another window.
        """
        self._path = program
        self._set_pool(threads)
        try:
            self._program = _Library.get().load_program(
                program, verification=Verification.InternalConsistency
            )
        except (RuntimeError, OSError) as error:
            raise ArtifactError(f"{program}: ExecuTorch cannot load it: {error}") from error
        has = self._program.method_names
        lacks = [name for name in (FORWARD, SCORE, _LONGEST_CHUNK, _WINDOW) if name not in has]
        if lacks:
            raise ArtifactError(
                f"{program}: the program lacks {', '.join(lacks)}; was it written by"
                " `escalade export`?"
            )
        self._chunk_tokens = self._constant(_LONGEST_CHUNK)
        window = self._constant(_WINDOW)
        if window != manifest.model.window:
            raise ArtifactError(
                f"{program}: its window is {window}, the manifest says {manifest.model.window}"
            )
        self._method(SCORE)  # now rather than at the first token
        self._end_ids = frozenset(manifest.model.end_of_sequence_ids)
        #: Tokens put through the model since it was opened: what a reused prefix saves.
        self.tokens_run = 0
        self._held: list[int] = []

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        cancelled: Callable[[], bool] | None = None,
        draft: Sequence[int] = (),
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        scores = sampling is None and not top
        method = self._method(SCORE if scores else FORWARD)
        del self._held[reusable(self._held, prompt_ids) :]
        outputs: list[torch.Tensor] = []

        def read(last: int | None) -> bool:
            nonlocal outputs
            waiting = list(prompt_ids[len(self._held) :]) if last is None else [last]
            for start in range(0, len(waiting), self._chunk_tokens):
                if cancelled is not None and cancelled():
                    return False
                outputs = self._run(method, waiting[start : start + self._chunk_tokens])
            return True

        def likeliest() -> tuple[int, float]:
            if not scores:
                return likeliest_of(logits(), 1)[0]
            token, peak, logsumexp = (output.item() for output in outputs)
            return int(token), float(peak - logsumexp)

        def logits() -> NDArray[np.float32]:
            found: NDArray[np.float32] = outputs[0][0].numpy()
            return found

        yield from steps_of(
            read,
            likeliest,
            logits,
            end_ids=self._end_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            top=top,
        )

    @classmethod
    def _set_pool(cls, threads: int) -> None:
        """Set the process's pool, once: loaded programs keep the address of the one they met."""
        if cls._pool_set:
            return
        with without_messages(_NOISE):  # the pool is made here, whether or not it fits
            made = portable_lib._threadpool_get_thread_count()
            if threads not in {0, made}:
                portable_lib._unsafe_reset_threadpool(threads)
        cls._pool_set = True

    def _run(self, method: Method, ids: list[int]) -> list[torch.Tensor]:
        tokens = torch.tensor([ids], dtype=torch.int64)
        position = torch.tensor([len(self._held)], dtype=torch.int64)
        try:
            outputs: list[torch.Tensor] = method.execute([tokens, position])
        except RuntimeError as error:
            raise ArtifactError(f"{self._path}: {str(error).splitlines()[0]}") from error
        self._held.extend(ids)
        self.tokens_run += len(ids)
        return outputs

    def _method(self, name: str) -> Method:
        """Loaded when first asked for: each method lays its weights out anew."""
        try:
            return self._program.load_method(name)
        except RuntimeError as error:
            raise ArtifactError(f"{self._path}: {str(error).splitlines()[0]}") from error

    def _constant(self, name: str) -> int:
        return int(self._method(name).execute([])[0])
