"""Graphs of transformers, layer by layer; knows no family of models."""

from escalade.export.onnx.graphs.classifier import write_classifier
from escalade.export.onnx.graphs.decoder import write_decoder
from escalade.export.onnx.graphs.encoder_decoder import write_encoder_decoder
from escalade.export.onnx.graphs.matrices import matrices_in, matrices_of

__all__ = [
    "matrices_in",
    "matrices_of",
    "write_classifier",
    "write_decoder",
    "write_encoder_decoder",
]
