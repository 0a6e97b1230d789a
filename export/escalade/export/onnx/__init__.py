"""The ONNX program, written from a blueprint; knows no family of models."""

from escalade.export.onnx.program import (
    ENCODER_NAME,
    PROGRAM_NAME,
    export_onnx,
    export_onnx_classifier,
    storage_of,
)

__all__ = ["ENCODER_NAME", "PROGRAM_NAME", "export_onnx", "export_onnx_classifier", "storage_of"]
