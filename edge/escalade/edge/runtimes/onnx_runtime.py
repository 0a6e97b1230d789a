"""Runs an ONNX causal LM with onnxruntime and numpy alone; knows no text, no network.

Keys and values live in one buffer for each layer, as long as the window and allocated once,
which the program reads as past and writes as present. To go back in the text is to say that
less of the buffer counts: a prompt that begins as the last one did is only read from where
it differs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# The wheels for Linux carry telemetry; it reads this when the library is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import Step, reusable
from escalade.edge.runtimes.program import (
    ATTENTION_MASK,
    CHUNK_TOKENS,
    INPUT_IDS,
    LOGITS,
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
    PRESENT_PREFIX,
)
from escalade.edge.runtimes.sampling import Sampler, Sampling

_ERRORS_ONLY = 3
_CPU = "cpu"


class OnnxRuntime:
    """Generation with one buffer of keys and values, on the CPU."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program and allocate the buffer.

        Args:
            program: the .onnx file; its data file lies beside it.
            manifest: checked by the caller.
            threads: of one operator; 0 leaves the choice to onnxruntime.

        Raises:
            ArtifactError: the program cannot be loaded, or its graph lacks an input or output.
        """
        self._program = program
        self._model = manifest.model
        self._end_ids = frozenset(self._model.end_of_sequence_ids)
        self._session = open_session(program, threads=threads)
        self._past_names = [
            node.name for node in self._session.get_inputs() if node.name.startswith(PAST_PREFIX)
        ]
        check_graph(
            program,
            self._session,
            inputs=[INPUT_IDS, ATTENTION_MASK, PAST_PREFIX + "0.key"],
            outputs=[NEXT_TOKEN, LOGPROB, LOGITS, *map(_present_of, self._past_names)],
        )
        #: Tokens put through the model since it was opened: what a reused prefix saves.
        self.tokens_run = 0
        self._held: list[int] = []
        # This scheme rounds the activations of a whole chunk by one scale, so what is read
        # together changes the answer.
        self._reuses = manifest.quantization.scheme != "dynamic-int8"
        self._mask = np.ones((1, self._model.window), dtype=np.int64)
        self._token = np.zeros((1, 1), dtype=np.int64)
        self._logprob = np.zeros((1, 1), dtype=np.float32)
        self._logits = np.zeros((1, 1, self._model.vocabulary_size), dtype=np.float32)
        self._cache = self._allocate()
        self._greedy = self._bind(with_logits=False)
        self._sampled = self._bind(with_logits=True)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        binding = self._greedy if sampling is None else self._sampled
        sampler = None if sampling is None else Sampler(sampling)
        del self._held[reusable(self._held, prompt_ids) if self._reuses else 0 :]
        waiting = np.array([prompt_ids[len(self._held) :]], dtype=np.int64)
        for _ in range(max_new_tokens):
            for start in range(0, waiting.shape[1], CHUNK_TOKENS):
                if cancelled is not None and cancelled():
                    return
                self._run(binding, waiting[:, start : start + CHUNK_TOKENS])
            if sampler is None:
                token_id, logprob = int(self._token[0, 0]), float(self._logprob[0, 0])
            else:
                token_id, logprob = sampler.draw(self._logits[0, 0])
            ended = token_id in self._end_ids
            yield Step(token_id, logprob, ended)
            if ended:
                return
            waiting = np.array([[token_id]], dtype=np.int64)

    def _run(self, binding: ort.IOBinding, ids: NDArray[np.int64]) -> None:
        new = ids.shape[1]
        total = len(self._held) + new
        ids = np.ascontiguousarray(ids)
        binding.bind_input(INPUT_IDS, _CPU, 0, np.int64, (1, new), ids.ctypes.data)
        binding.bind_input(ATTENTION_MASK, _CPU, 0, np.int64, (1, total), self._mask.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{self._program}: {str(error).splitlines()[0]}") from error
        self._held.extend(ids[0].tolist())
        self.tokens_run += new

    def _allocate(self) -> dict[str, ort.OrtValue]:
        """A buffer for the keys or values of each layer, `(1, kv_heads, window, head_dim)`."""
        model = self._model
        shape = (1, model.kv_heads, model.window, model.head_dim)
        return {
            name: ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=np.float32))
            for name in self._past_names
        }

    def _bind(self, *, with_logits: bool) -> ort.IOBinding:
        binding = self._session.io_binding()
        for name, buffer in self._cache.items():
            binding.bind_ortvalue_input(name, buffer)
            binding.bind_ortvalue_output(_present_of(name), buffer)
        results: list[tuple[str, NDArray[np.generic]]] = [
            (NEXT_TOKEN, self._token),
            (LOGPROB, self._logprob),
        ]
        if with_logits:
            results.append((LOGITS, self._logits))
        for name, array in results:
            binding.bind_output(name, _CPU, 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding


def open_session(program: Path, *, threads: int) -> ort.InferenceSession:
    """Load a program for the CPU.

    Raises:
        ArtifactError: onnxruntime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Within a run threads meet hundreds of times and must not sleep; between runs they must
    # not spin, or they burn a core of a device that waits for its user.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # KleidiAI's kernels for Arm round activations by row, all others by block: a threshold that
    # was set on another machine would not hold there (`make test-aarch64`).
    options.add_session_config_entry("mlas.disable_kleidiai", "1")
    try:
        return ort.InferenceSession(program, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many kinds, all its own
        raise ArtifactError(f"{program}: onnxruntime cannot load it: {error}") from error


def check_graph(
    program: Path, session: ort.InferenceSession, *, inputs: list[str], outputs: list[str]
) -> None:
    """Hold a graph against what a runtime feeds and fetches.

    Raises:
        ArtifactError: it lacks something.
    """
    has_inputs = {node.name for node in session.get_inputs()}
    has_outputs = {node.name for node in session.get_outputs()}
    lacks = [name for name in inputs if name not in has_inputs]
    lacks += [name for name in outputs if name not in has_outputs]
    if lacks:
        raise ArtifactError(
            f"{program}: the graph lacks {', '.join(lacks)}; was it written by `escalade export`?"
        )


def _present_of(past_name: str) -> str:
    return PRESENT_PREFIX + past_name.removeprefix(PAST_PREFIX)
