"""The ONNX program, written from a blueprint; knows no family of models."""

from escalade.export.onnx.pinned import pin_last
from escalade.export.onnx.program import (
    ENCODER_NAME,
    PROGRAM_NAME,
    check_budget,
    export_onnx,
    export_onnx_classifier,
)
from escalade.export.onnx.stored import stored_by

__all__ = [
    "ENCODER_NAME",
    "PROGRAM_NAME",
    "check_budget",
    "export_onnx",
    "export_onnx_classifier",
    "pin_last",
    "stored_by",
]
