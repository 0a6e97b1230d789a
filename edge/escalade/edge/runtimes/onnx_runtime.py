"""Runs an ONNX causal LM with onnxruntime and numpy alone; knows no text, no network.

Keys and values live in one buffer for each layer, as long as the window and allocated once,
which the program reads as past and writes as present. To go back in the text is to say that
less of the buffer counts: a prompt that begins as the last one did is only read from where
it differs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# The wheels for Linux carry telemetry; it reads this when the library is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import Step, reusable, steps_of
from escalade.edge.runtimes.kernels import choose_kernels
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
from escalade.edge.runtimes.sampling import Sampling

_ERRORS_ONLY = 3
CPU = "cpu"
# Values of half a kilobyte. Where there are more tokens, a step takes so long that none counts.
_MOST_KEPT = 512


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
        self._session = open_session(program, manifest, threads=threads)
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
        self._ids = np.zeros((1, CHUNK_TOKENS), dtype=np.int64)
        self._masks, self._chunks = (
            Beginnings(np.ones((1, self._model.window), dtype=np.int64)),
            Beginnings(self._ids),
        )
        self._next = NextToken(self._model.vocabulary_size)
        self._cache = self._allocate()
        self._greedy = bind(self._session, self._cache, self._next, with_logits=False)
        self._sampled = bind(self._session, self._cache, self._next, with_logits=True)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        binding = self._greedy if sampling is None and not top else self._sampled
        del self._held[reusable(self._held, prompt_ids) if self._reuses else 0 :]

        def read(last: int | None) -> bool:
            for ids in self._unread(prompt_ids) if last is None else ([last],):
                if cancelled is not None and cancelled():
                    return False
                self._run(binding, ids)
            return True

        yield from steps_of(
            read,
            self._next.likeliest,
            self._next.of_all,
            end_ids=self._end_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            top=top,
        )

    def _unread(self, prompt_ids: Sequence[int]) -> list[list[int]]:
        """What of a prompt is not held, in chunks."""
        starts = range(len(self._held), len(prompt_ids), CHUNK_TOKENS)
        return [list(prompt_ids[at : at + CHUNK_TOKENS]) for at in starts]

    def _run(self, binding: ort.IOBinding, new: list[int]) -> None:
        count = len(new)
        if count == 1:
            self._ids[0, 0] = new[0]  # a slice takes as long as what follows
        else:
            self._ids[0, :count] = new
        binding.bind_ortvalue_input(INPUT_IDS, self._chunks.of(count))
        binding.bind_ortvalue_input(ATTENTION_MASK, self._masks.of(len(self._held) + count))
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{self._program}: {str(error).splitlines()[0]}") from error
        self._held += new
        self.tokens_run += count

    def _allocate(self) -> dict[str, ort.OrtValue]:
        """A buffer for the keys or values of each layer, `(1, kv_heads, window, head_dim)`."""
        model = self._model
        shape = (1, model.kv_heads, model.window, model.head_dim)
        return {
            name: ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=np.float32))
            for name in self._past_names
        }


class Beginnings:
    """The first columns of an array, as values to be bound.

    To describe them anew for each token takes a tenth of a small model's step.
    """

    def __init__(self, array: NDArray[np.int64]) -> None:
        """Take an array, `(1, n)`."""
        self._array = array
        self._known: dict[int, ort.OrtValue] = {}

    def of(self, columns: int) -> ort.OrtValue:
        """The first so many, `(1, columns)`, where the array has them."""
        value = self._known.get(columns)
        if value is None:
            value = ort.OrtValue.ortvalue_from_numpy(self._array[:, :columns])
            if columns <= _MOST_KEPT:
                self._known[columns] = value
        return value


class NextToken:
    """Where a graph writes what it says of the next token."""

    def __init__(self, vocabulary_size: int) -> None:
        self.token = np.zeros((1, 1), dtype=np.int64)
        self.logprob = np.zeros((1, 1), dtype=np.float32)
        self.logits = np.zeros((1, 1, vocabulary_size), dtype=np.float32)

    def likeliest(self) -> tuple[int, float]:
        """The greedy choice and its log-probability."""
        return self.token.item(), self.logprob.item()

    def of_all(self) -> NDArray[np.float32]:
        """The logits, `(V,)`."""
        logits: NDArray[np.float32] = self.logits[0, 0]
        return logits


def bind(
    session: ort.InferenceSession,
    cache: Mapping[str, ort.OrtValue],
    results: NextToken,
    *,
    with_logits: bool,
) -> ort.IOBinding:
    """Bind all that stays where it is from run to run.

    Args:
        session: of the graph.
        cache: by the name of its input, a buffer that is read and written in place.
        results: where the graph writes.
        with_logits: whether it writes them too: copying them takes time.
    """
    binding = session.io_binding()
    for name, buffer in cache.items():
        binding.bind_ortvalue_input(name, buffer)
        binding.bind_ortvalue_output(_present_of(name), buffer)
    written: list[tuple[str, NDArray[np.generic]]] = [
        (NEXT_TOKEN, results.token),
        (LOGPROB, results.logprob),
    ]
    if with_logits:
        written.append((LOGITS, results.logits))
    for name, array in written:
        binding.bind_output(name, CPU, 0, array.dtype.type, array.shape, array.ctypes.data)
    return binding


def open_session(program: Path, manifest: Manifest, *, threads: int) -> ort.InferenceSession:
    """Load a program for the CPU.

    Raises:
        ArtifactError: onnxruntime cannot load it, or see `choose_kernels`.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Within a run threads meet hundreds of times and must not sleep; between runs they must
    # not spin, or they burn a core of a device that waits for its user.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    choose_kernels(options, program, manifest)
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
