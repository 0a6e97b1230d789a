"""Writes the program of an artifact, in the format that was asked for; knows no manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import Generation
from escalade.edge.artifact import QuantizationEntry
from escalade.export.errors import ModelError
from escalade.export.kept import Kept
from escalade.export.settings import Settings

if TYPE_CHECKING:
    from escalade.export.quantization import Answered


def write_program(
    model: PreTrainedModel,
    generation: Generation,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    settings: Settings,
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
    format, scheme = settings.format, settings.quantize
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
            embedding_bits=settings.head_bits_or_usual,
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
            settings=settings,
            tuned_by=answers,
            kept=kept,
            progress=progress,
        ),
    )
