"""Has a program say no more than the next token; knows no model, no library."""

from __future__ import annotations

from pathlib import Path

import onnx

from escalade.edge.runtimes import LOGITS_TO_KEEP

_KEPT = "kept"  # as the head names this axis


def pin_last(program: Path) -> None:
    """Take away a decoder's choice of positions: its outputs are of the last one, and say so.

    A runtime that makes room for `logits` before it asks goes by the shape that is declared
    (onnxruntime-genai: for every position of the prompt unless it is 1).

    Args:
        program: as `export_onnx` wrote it; its weights are not read.
    """
    model = onnx.load(program, load_external_data=False)
    graph = model.graph
    # What it is where it is not fed becomes what it is.
    for chosen in [one for one in graph.input if one.name == LOGITS_TO_KEEP]:
        graph.input.remove(chosen)
    for output in graph.output:
        for axis in output.type.tensor_type.shape.dim:
            if axis.dim_param == _KEPT:
                axis.dim_value = 1
    onnx.save(model, program)
