"""Programs that onnxruntime runs; imports it, so that only who opens one comes here."""

from escalade.edge.runtimes.onnx.classifier import OnnxClassifierRuntime
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime
from escalade.edge.runtimes.onnx.encoder_decoder import OnnxEncoderDecoderRuntime
from escalade.edge.runtimes.onnx.sentence_encoder import OnnxSentenceEncoder
from escalade.edge.runtimes.onnx.session import keeps, open_session, present_of

__all__ = [
    "OnnxClassifierRuntime",
    "OnnxEncoderDecoderRuntime",
    "OnnxRuntime",
    "OnnxSentenceEncoder",
    "keeps",
    "open_session",
    "present_of",
]
