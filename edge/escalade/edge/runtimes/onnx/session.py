"""What the ONNX programs share: sessions, buffers and bindings; knows no generation.

Importing it turns onnxruntime's telemetry off, so it comes before onnxruntime.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
from numpy.typing import NDArray

# The wheels for Linux carry telemetry; it reads this when the library is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from escalade.edge.artifact import Manifest, PlanesEntry, join_planes, planes_name
from escalade.edge.errors import ArtifactError
from escalade.edge.memory import return_holes, take_huge_pages
from escalade.edge.runtimes.onnx.kernels import choose_kernels
from escalade.edge.runtimes.onnx.mapped import LARGE_BYTES, ROOT, held_bytes, mapped_program
from escalade.edge.runtimes.program import (
    LOGITS,
    LOGITS_TO_KEEP,
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
    PRESENT_PREFIX,
    data_name,
    joined_name,
)

_ERRORS_ONLY = 3
# Below which weights lie, of a program that is given in memory
# (onnxruntime_session_options_config_keys.h).
_FOLDER = "session.model_external_initializers_file_folder_path"
CPU = "cpu"
# Values of half a kilobyte. Where there are more tokens, a step takes so long that none counts.
_MOST_KEPT = 512


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

    def __init__(self, vocabulary_size: int, kept: int = 1) -> None:
        """Make room.

        Args:
            vocabulary_size: V.
            kept: for so many positions at most; the logits are the last one's.
        """
        self.token = np.zeros((1, kept), dtype=np.int64)
        self.logprob = np.zeros((1, kept), dtype=np.float32)
        self.logits = np.zeros((1, 1, vocabulary_size), dtype=np.float32)

    def likeliest(self, kept: int = 0) -> tuple[int, float]:
        """The greedy choice and its log-probability, after one of the positions that were kept."""
        return self.token.item(kept), self.logprob.item(kept)

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
    kept: int = 1,
) -> ort.IOBinding:
    """Bind all that stays where it is from run to run.

    Args:
        session: of the graph.
        cache: by the name of its input, a buffer that is read and written in place.
        results: where the graph writes.
        with_logits: whether it writes them too: copying them takes time.
        kept: of how many positions at the end it says the next token; above 1 it takes a graph
            that `keeps`, and there are no logits.
    """
    binding = session.io_binding()
    for name, buffer in cache.items():
        binding.bind_ortvalue_input(name, buffer)
        binding.bind_ortvalue_output(present_of(name), buffer)
    if kept > 1:
        positions = ort.OrtValue.ortvalue_from_numpy(np.arange(-kept, 0, dtype=np.int64))
        binding.bind_ortvalue_input(LOGITS_TO_KEEP, positions)
    written: list[tuple[str, NDArray[np.generic]]] = [
        (NEXT_TOKEN, results.token[:, :kept]),
        (LOGPROB, results.logprob[:, :kept]),
    ]
    if with_logits:
        written.append((LOGITS, results.logits))
    for name, array in written:
        binding.bind_output(name, CPU, 0, array.dtype.type, array.shape, array.ctypes.data)
    return binding


def keeps(session: ort.InferenceSession) -> bool:
    """Whether a graph says the next token of other positions than the last, if it is asked."""
    return any(node.name == LOGITS_TO_KEEP for node in session.get_overridable_initializers())


def open_session(program: Path, manifest: Manifest, *, threads: int) -> ort.InferenceSession:
    """Load a program for the CPU.

    Raises:
        ArtifactError: onnxruntime cannot load it, its planes are no such, or see `choose_kernels`.
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
    planes = manifest.quantization.planes
    with ExitStack() as stack:
        source: bytes | Path | None = stack.enter_context(mapped_program(program, planes))
        if source is None:
            source = program
            stack.enter_context(joined_planes(options, program, planes))
        else:
            options.add_session_config_entry(_FOLDER, ROOT)
        try:
            # Its fallback tries the same again, and says so in four lines on stdout.
            session = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{program}: onnxruntime cannot load it: {error}") from error
    if planes:
        return_holes()  # onnxruntime copied weights that are given in memory: 40 MB of SmolLM2
    if held_bytes(program) >= LARGE_BYTES:
        # Weights, as kernels packed them. It takes a fifth of opening, and nothing waits for it.
        Thread(target=take_huge_pages, name="huge pages", daemon=True).start()
    return session


@contextmanager
def joined_planes(
    options: ort.SessionOptions, program: Path, planes: Sequence[PlanesEntry]
) -> Iterator[None]:
    """While a session is made, let it find what the program's planes join to, if it has any.

    Joined here and not by nodes of the graph: onnxruntime would keep what each of these gives until
    it has loaded all, which took 950 MB for SmolLM2.

    Raises:
        ArtifactError: they are no such planes.
    """
    if not planes:
        yield
        return
    name = program.name
    # Where it is given one file, it looks for no other on disk; and it reads them where they are:
    # both live until this ends.
    files = {joined_name(name): join_planes(program.with_name(planes_name(name)), planes)}
    data = program.with_name(data_name(name))
    if data.is_file() and data.stat().st_size:
        files[data_name(name)] = np.memmap(data, np.uint8, "r")
    options.add_external_initializers_from_files_in_memory(
        list(files), list(files.values()), [file.nbytes for file in files.values()]
    )
    yield


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


def present_of(past_name: str) -> str:
    """The output that a buffer of keys or values is written by."""
    return PRESENT_PREFIX + past_name.removeprefix(PAST_PREFIX)
