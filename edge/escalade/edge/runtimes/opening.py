"""Opens the program of an artifact with the runtime it is for; knows no text."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from escalade.edge.artifact import Manifest
from escalade.edge.runtimes.base import Runtime

if TYPE_CHECKING:
    import onnxruntime as ort

    from escalade.edge.runtimes.llamacpp import LlamaCppRuntime
    from escalade.edge.runtimes.onnx import OnnxSentenceEncoder


def open_runtime(folder: Path, manifest: Manifest, *, threads: int) -> Runtime:
    """Open the program of an artifact whose files have been checked.

    Raises:
        ArtifactError: the program cannot be loaded, or its graph lacks an input or output.
    """
    program = folder / manifest.program
    if manifest.linear is not None:
        from escalade.edge.runtimes.linear_runtime import LinearRuntime

        return LinearRuntime(program, manifest)
    if manifest.classification:
        from escalade.edge.runtimes.onnx import OnnxClassifierRuntime

        return OnnxClassifierRuntime(program, manifest, threads=threads)
    if manifest.format == "executorch":
        from escalade.edge.runtimes.executorch import ExecutorchRuntime

        return ExecutorchRuntime(program, manifest, threads=threads)
    if manifest.format == "gguf":
        return open_gguf(folder, manifest, threads=threads)
    if manifest.encoder is not None:
        from escalade.edge.runtimes.onnx import OnnxEncoderDecoderRuntime

        return OnnxEncoderDecoderRuntime(
            folder / manifest.encoder, program, manifest, threads=threads
        )
    from escalade.edge.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(program, manifest, threads=threads)


def open_sentence_encoder(folder: Path, manifest: Manifest, *, threads: int) -> OnnxSentenceEncoder:
    """Open the program of a sentence encoder whose files have been checked.

    Raises:
        ArtifactError: see `open_runtime`.
    """
    from escalade.edge.runtimes.onnx import OnnxSentenceEncoder

    return OnnxSentenceEncoder(folder / manifest.program, manifest, threads=threads)


def open_onnx(folder: Path, manifest: Manifest, *, threads: int) -> ort.InferenceSession:
    """The session of an ONNX program, for who asks it for what no runtime does.

    Raises:
        ArtifactError: onnxruntime cannot load it.
    """
    from escalade.edge.runtimes.onnx import open_session

    return open_session(folder / manifest.program, manifest, threads=threads)


def open_gguf(folder: Path, manifest: Manifest, *, threads: int) -> LlamaCppRuntime:
    """The runtime of a GGUF program, for who reads a text by it.

    Raises:
        ArtifactError: llama.cpp cannot load it, or is not installed.
    """
    from escalade.edge.runtimes.llamacpp import LlamaCppRuntime

    return LlamaCppRuntime(folder / manifest.program, manifest, threads=threads)


def open_llamacpp() -> ModuleType:
    """llama.cpp's functions, for who makes its files: `llama_cpp`, and what it says went wrong.

    Raises:
        ArtifactError: it is not installed.
    """
    from escalade.edge.runtimes.llamacpp import library

    return library
