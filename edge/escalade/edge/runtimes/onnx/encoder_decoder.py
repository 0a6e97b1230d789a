"""Runs an ONNX encoder-decoder with onnxruntime and numpy alone; knows no text, no network.

The encoder reads the prompt in one piece, for each of its tokens sees all the others. What it
gives, the decoder reads where it lies, at each step. The decoder's own keys and values live in
one buffer for each layer, as long as the window and allocated once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import ReadsNoDraft, Step, steps_of
from escalade.edge.runtimes.onnx.session import (
    CPU,
    Beginnings,
    NextToken,
    bind,
    check_graph,
    open_session,
)
from escalade.edge.runtimes.program import (
    DECODER_ATTENTION_MASK,
    INPUT_IDS,
    LOGITS,
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
    PRESENT_PREFIX,
)
from escalade.edge.runtimes.sampling import Sampling

# isort: split
import onnxruntime as ort  # after the session, which turns its telemetry off

_KINDS = ("key", "value")


class OnnxEncoderDecoderRuntime(ReadsNoDraft):
    """Generation by two programs, on the CPU."""

    def __init__(self, encoder: Path, decoder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the programs and allocate the buffer.

        Args:
            encoder: its .onnx file.
            decoder: its .onnx file.
            manifest: checked by the caller.
            threads: of one operator; 0 leaves the choice to onnxruntime.

        Raises:
            ArtifactError: a program cannot be loaded, its graph lacks an input or output, or
                the manifest does not say what the decoder begins with.
        """
        model = manifest.model
        if model.decoder_start_id is None:
            raise ArtifactError(f"{decoder}: the manifest names an encoder and no decoder_start_id")
        self._start_id = model.decoder_start_id
        self._end_ids = frozenset(model.end_of_sequence_ids)
        self._encoder_program, self._decoder_program = encoder, decoder
        self._encoder = open_session(encoder, manifest, threads=threads)
        self._decoder = open_session(decoder, manifest, threads=threads)
        caches = [f"{layer}.decoder.{kind}" for layer in range(model.layers) for kind in _KINDS]
        self._crossed = [
            f"{layer}.encoder.{kind}" for layer in range(model.layers) for kind in _KINDS
        ]
        check_graph(
            encoder,
            self._encoder,
            inputs=[INPUT_IDS],
            outputs=[PRESENT_PREFIX + name for name in self._crossed],
        )
        check_graph(
            decoder,
            self._decoder,
            inputs=[
                INPUT_IDS,
                DECODER_ATTENTION_MASK,
                *(PAST_PREFIX + name for name in (*caches, *self._crossed)),
            ],
            outputs=[NEXT_TOKEN, LOGPROB, LOGITS, *(PRESENT_PREFIX + name for name in caches)],
        )
        shape = (1, model.kv_heads, model.window, model.head_dim)
        self._cache = {
            PAST_PREFIX + name: ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=np.float32))
            for name in caches
        }
        self._masks = Beginnings(np.ones((1, model.window), dtype=np.int64))
        self._new_id = np.zeros((1, 1), dtype=np.int64)
        self._next = NextToken(model.vocabulary_size)
        self._greedy = bind(self._decoder, self._cache, self._next, with_logits=False)
        self._sampled = bind(self._decoder, self._cache, self._next, with_logits=True)
        for binding in (self._greedy, self._sampled):
            binding.bind_input(INPUT_IDS, CPU, 0, np.int64, (1, 1), self._new_id.ctypes.data)
        #: What the encoder's output, as it is bound now, is of.
        self._read: list[int] = []

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
        """See `Runtime.generate`; a prompt is one chunk, however long; no draft is read."""
        binding = self._greedy if sampling is None and not top else self._sampled
        positions = itertools.count()

        def read(last: int | None) -> bool:
            if cancelled is not None and cancelled():
                return False
            if last is None:
                self._encode(list(prompt_ids))
            self._decode(binding, next(positions), self._start_id if last is None else last)
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

    def _encode(self, prompt_ids: list[int]) -> None:
        """Bind the keys and values of a prompt; the last one's are there already."""
        if prompt_ids == self._read:
            return
        self._read = []
        ids = ort.OrtValue.ortvalue_from_numpy(np.array([prompt_ids], dtype=np.int64))
        # Intermediate results grow with the square of the prompt's length: give them back.
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        outputs = [PRESENT_PREFIX + name for name in self._crossed]
        try:
            encoded = self._encoder.run_with_ort_values(outputs, {INPUT_IDS: ids}, options)
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise _failed(self._encoder_program, error) from error
        for name, value in zip(self._crossed, encoded, strict=True):
            for binding in (self._greedy, self._sampled):
                binding.bind_ortvalue_input(PAST_PREFIX + name, value)
        self._read = prompt_ids

    def _decode(self, binding: ort.IOBinding, position: int, new_id: int) -> None:
        self._new_id[0, 0] = new_id
        binding.bind_ortvalue_input(DECODER_ATTENTION_MASK, self._masks.of(position + 1))
        try:
            self._decoder.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise _failed(self._decoder_program, error) from error


def _failed(program: Path, error: Exception) -> ArtifactError:
    return ArtifactError(f"{program}: {str(error).splitlines()[0]}")
