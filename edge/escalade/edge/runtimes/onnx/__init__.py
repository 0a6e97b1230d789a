"""Programs that onnxruntime runs; imports it, so that only who opens one comes here."""

from escalade.edge.runtimes.onnx.classifier import OnnxClassifierRuntime
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime
from escalade.edge.runtimes.onnx.encoder_decoder import OnnxEncoderDecoderRuntime
from escalade.edge.runtimes.onnx.sentence_encoder import OnnxSentenceEncoder
from escalade.edge.runtimes.onnx.session import open_session

__all__ = [
    "OnnxClassifierRuntime",
    "OnnxEncoderDecoderRuntime",
    "OnnxRuntime",
    "OnnxSentenceEncoder",
    "open_session",
]
