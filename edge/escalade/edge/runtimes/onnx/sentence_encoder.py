"""Runs an ONNX encoder of sentences; knows no text, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.onnx.session import check_graph, open_session
from escalade.edge.runtimes.program import INPUT_IDS, SENTENCE_EMBEDDING


class OnnxSentenceEncoder:
    """What one text becomes, on the CPU."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program.

        Args:
            program: the .onnx file; its data file lies beside it.
            manifest: checked by the caller, of a sentence encoder.
            threads: of one operator; 0 leaves the choice to onnxruntime.

        Raises:
            ArtifactError: the program cannot be loaded, or its graph lacks an input or output or
                gives another number of numbers.
        """
        assert manifest.embedding  # noqa: S101 - who opens has looked
        self._program = program
        self._session = open_session(program, manifest, threads=threads)
        check_graph(program, self._session, inputs=[INPUT_IDS], outputs=[SENTENCE_EMBEDDING])
        shapes = {node.name: node.shape for node in self._session.get_outputs()}
        numbers = shapes[SENTENCE_EMBEDDING][-1]
        if numbers != manifest.embedding.dimensions:
            raise ArtifactError(
                f"{program}: the graph gives {numbers} numbers, the manifest says"
                f" {manifest.embedding.dimensions}"
            )

    def embed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """`(D,)`, of length 1.

        Args:
            ids: of a text with its special tokens, at least 1.

        Raises:
            ArtifactError: onnxruntime does not compute it.
        """
        fed = {INPUT_IDS: np.array([ids], dtype=np.int64)}
        try:
            (found,) = self._session.run([SENTENCE_EMBEDDING], fed)
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{self._program}: {str(error).splitlines()[0]}") from error
        numbers: NDArray[np.float32] = found[0]
        return numbers
