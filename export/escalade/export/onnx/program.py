"""From a torch model to ONNX programs in a folder; knows no artifact."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from escalade.edge.manifest import QuantizationEntry, Scheme
from escalade.export.onnx.decoder_graph import write_decoder
from escalade.export.onnx.families import decoder_of
from escalade.export.onnx.rotary import align_rotary
from escalade.export.onnx.storage import Storage
from escalade.export.onnx.writer import PROGRAM_NAME, GraphWriter


def export_onnx(
    model: PreTrainedModel,
    out: Path,
    *,
    window: int,
    scheme: Scheme,
    block_size: int | None = None,
    head_bits: int | None = None,
) -> QuantizationEntry:
    """Write `model.onnx` and its data file into `out`.

    Args:
        model: in float32, in eval mode, on the CPU.
        out: an existing folder.
        window: longest prompt plus response, in tokens.
        scheme: how weights are stored.
        block_size: input values that share a scale; 32 if None.
        head_bits: of embedding and head; 8 if None.

    Returns:
        How the weights are stored, for the manifest.

    Raises:
        ModelError: the model is of a kind that cannot be written.
        OptionError: a setting is out of range.
    """
    given = {"block_size": block_size, "head_bits": head_bits}
    storage = Storage(
        scheme=scheme, **{name: value for name, value in given.items() if value is not None}
    )
    with GraphWriter(out / PROGRAM_NAME, "decoder") as graph:
        write_decoder(graph, align_rotary(decoder_of(model, window)), storage)
    return QuantizationEntry(
        scheme=scheme,
        block_size=storage.block_size if storage.bits else None,
        detail=storage.detail,
    )


__all__ = ["PROGRAM_NAME", "export_onnx"]
