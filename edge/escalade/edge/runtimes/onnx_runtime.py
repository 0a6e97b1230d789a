"""Runs an ONNX artifact with onnxruntime and numpy alone; knows no text, no network.

The graph takes new token ids, their positions and the past keys and values; it gives the
greedy next token, its log-probability and the grown keys and values. One graph serves
prompt and decode: the prompt is a step with an empty past.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

# The wheels for Linux carry telemetry; it reads this when the library is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from escalade.edge.errors import ArtifactError
from escalade.edge.manifest import Manifest
from escalade.edge.runtimes.base import Sampling, Step

#: Names in the graph, as `escalade.export` writes them; the KV names are those of optimum-onnx.
INPUT_IDS, POSITION_IDS = "input_ids", "position_ids"
NEXT_TOKEN, LOGPROB = "next_token", "logprob"
PAST_PREFIX, PRESENT_PREFIX = "past_key_values.", "present."

_ERRORS_ONLY = 3


class OnnxRuntime:
    """Greedy generation with a growing KV cache on the CPU."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program.

        Args:
            program: the .onnx file; its data file lies beside it.
            manifest: checked by the caller.
            threads: of one operator; 0 leaves the choice to onnxruntime.

        Raises:
            ArtifactError: the program cannot be loaded, or its graph lacks an input or output.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Spinning between queries would burn a core of a device that waits for its user.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                program, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{program}: onnxruntime cannot load it: {error}") from error
        self._program = program
        self._end_ids = frozenset(manifest.model.end_of_sequence_ids)
        self._past_names = [
            node.name for node in self._session.get_inputs() if node.name.startswith(PAST_PREFIX)
        ]
        present = [PRESENT_PREFIX + name.removeprefix(PAST_PREFIX) for name in self._past_names]
        self._outputs = [NEXT_TOKEN, LOGPROB, *present]
        self._check_graph(program)
        model = manifest.model
        empty = np.zeros((1, model.kv_heads, 0, model.head_dim), dtype=np.float32)
        self._empty = ort.OrtValue.ortvalue_from_numpy(empty)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        past = dict.fromkeys(self._past_names, self._empty)
        new_ids = np.asarray([prompt_ids], dtype=np.int64)
        position = 0
        for _ in range(max_new_tokens):
            positions = np.arange(position, position + new_ids.shape[1], dtype=np.int64)[None]
            feeds = {
                INPUT_IDS: ort.OrtValue.ortvalue_from_numpy(new_ids),
                POSITION_IDS: ort.OrtValue.ortvalue_from_numpy(positions),
                **past,
            }
            try:
                token, logprob, *present = self._session.run_with_ort_values(self._outputs, feeds)
            except Exception as error:  # as above: an altered manifest may not fit the graph
                raise ArtifactError(f"{self._program}: {str(error).splitlines()[0]}") from error
            position += new_ids.shape[1]
            token_id = int(token.numpy().item())
            ended = token_id in self._end_ids
            yield Step(token_id, float(logprob.numpy().item()), ended)
            if ended:
                return
            past = dict(zip(self._past_names, present, strict=True))
            new_ids = np.asarray([[token_id]], dtype=np.int64)

    def _check_graph(self, program: Path) -> None:
        has_inputs = {node.name for node in self._session.get_inputs()}
        has_outputs = {node.name for node in self._session.get_outputs()}
        lacks = sorted(
            ({INPUT_IDS, POSITION_IDS} - has_inputs) | (set(self._outputs) - has_outputs)
        )
        if lacks or not self._past_names:
            raise ArtifactError(
                f"{program}: the graph lacks {', '.join(lacks) or 'past keys and values'};"
                " was it written by `escalade export`?"
            )
