"""The ONNX program, written from a blueprint; knows no family of models."""

from escalade.export.onnx.program import (
    ENCODER_NAME,
    PROGRAM_NAME,
    export_onnx,
    export_onnx_classifier,
    storage_of,
)
from escalade.export.onnx.stored import StoredBy, stored_by

__all__ = [
    "ENCODER_NAME",
    "PROGRAM_NAME",
    "StoredBy",
    "export_onnx",
    "export_onnx_classifier",
    "storage_of",
    "stored_by",
]
