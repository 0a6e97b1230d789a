"""Writes the program of an artifact, in the format that was asked for; knows no manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import Generation
from escalade.edge.artifact import Format, QuantizationEntry, Scheme
from escalade.export.errors import ModelError
from escalade.export.kept import Kept

if TYPE_CHECKING:
    from escalade.export.artifact.layouts import Layout
    from escalade.export.quantization import Answered


def write_program(
    model: PreTrainedModel,
    generation: Generation,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    format: Format,
    scheme: Scheme,
    block_size: int | None,
    head_bits: int | None,
    bits: float | None,
    memory_bits: float | None,
    activation_bits: int | None,
    layout: Layout | None,
    window: int,
    answers: Sequence[Answered],
    kept: Kept,
    progress: Callable[[str], None],
) -> tuple[str, str | None, QuantizationEntry]:
    """Write the program into a folder; the arguments are `export_artifact`'s.

    Returns:
        The program's file name, the encoder's, and how weights are stored.

    Raises:
        ModelError: the format takes no encoder-decoder, or no such model.
        OptionError: no program has so few or many bits.
    """
    if format != "onnx" and model.config.is_encoder_decoder:
        raise ModelError(f"--format {format} takes decoder-only models, got an encoder-decoder")
    if format == "gguf":
        from escalade.export.gguf import GGUF_PROGRAM_NAME, write_gguf

        path = folder / GGUF_PROGRAM_NAME
        detail = write_gguf(model, generation, tokenizer, path, window=window, scheme=scheme)
        return path.name, None, QuantizationEntry(scheme=scheme, detail=detail)
    if format == "executorch":
        from escalade.export.executorch import EXECUTORCH_PROGRAM_NAME, export_executorch

        detail, block_size = export_executorch(
            model,
            folder,
            window=window,
            scheme=scheme,
            embedding_bits=4 if head_bits == 4 else 8,  # noqa: PLR2004
        )
        entry = QuantizationEntry(scheme=scheme, block_size=block_size, detail=detail)
        return EXECUTORCH_PROGRAM_NAME, None, entry
    from escalade.export.onnx import ENCODER_NAME, PROGRAM_NAME, export_onnx

    encoder = ENCODER_NAME if model.config.is_encoder_decoder else None
    return (
        PROGRAM_NAME,
        encoder,
        export_onnx(
            model,
            folder,
            window=window,
            scheme=scheme,
            block_size=block_size,
            head_bits=head_bits,
            bits=bits,
            memory_bits=memory_bits,
            activation_bits=activation_bits,
            planes=layout is None,
            tuned_by=answers,
            kept=kept,
            progress=progress,
        ),
    )
