"""Runs an ONNX encoder with a classification head; knows no text, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import ReadsNoDraft, Step, class_step
from escalade.edge.runtimes.onnx.session import check_graph, open_session
from escalade.edge.runtimes.program import CLASS_LOGPROBS, INPUT_IDS
from escalade.edge.runtimes.sampling import Sampling


class OnnxClassifierRuntime(ReadsNoDraft):
    """Classification of one text at a time, on the CPU."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program.

        Args:
            program: the .onnx file; its data file lies beside it.
            manifest: checked by the caller, of an encoder with a classification head.
            threads: of one operator; 0 leaves the choice to onnxruntime.

        Raises:
            ArtifactError: the program cannot be loaded, or its graph lacks an input or output or
                is of other classes.
        """
        entry = manifest.classifier
        assert entry is not None  # noqa: S101 - who opens has looked
        self._program = program
        self._session = open_session(program, manifest, threads=threads)
        check_graph(program, self._session, inputs=[INPUT_IDS], outputs=[CLASS_LOGPROBS])
        shapes = {node.name: node.shape for node in self._session.get_outputs()}
        classes = shapes[CLASS_LOGPROBS][-1]
        if classes != len(entry.labels):
            raise ArtifactError(
                f"{program}: the graph is of {classes} classes, the manifest of {len(entry.labels)}"
            )

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
        """See `Runtime.generate`; nothing is drawn, and a run is not cancelled once begun."""
        if cancelled is not None and cancelled():
            return
        ids = np.array([prompt_ids], dtype=np.int64)
        try:
            (logprobs,) = self._session.run([CLASS_LOGPROBS], {INPUT_IDS: ids})
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{self._program}: {str(error).splitlines()[0]}") from error
        yield class_step(logprobs[0])
