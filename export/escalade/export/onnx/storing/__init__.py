"""How matrices are rounded, stored and multiplied by; knows no transformer."""

from escalade.export.onnx.storing.products import array
from escalade.export.onnx.storing.slices import slice_name, slices_in, slices_of, table_of
from escalade.export.onnx.storing.storage import EMBEDDING, HEAD, Storage

__all__ = [
    "EMBEDDING",
    "HEAD",
    "Storage",
    "array",
    "slice_name",
    "slices_in",
    "slices_of",
    "table_of",
]
