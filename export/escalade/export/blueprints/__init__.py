"""What a torch model is made of, family by family; knows no ONNX."""

from escalade.export.blueprints.blueprint import (
    Attention,
    Block,
    Decoder,
    FeedForward,
    Linear,
    Norm,
)
from escalade.export.blueprints.classifier_families import (
    Classifier,
    classifier_of,
    sentence_encoder_of,
)
from escalade.export.blueprints.encoder_decoder_blueprint import (
    EncoderDecoder,
    Layer,
    RelativeBias,
    Stack,
)
from escalade.export.blueprints.encoder_decoder_families import encoder_decoder_of
from escalade.export.blueprints.families import decoder_of
from escalade.export.blueprints.rotary import align_rotary

__all__ = [
    "Attention",
    "Block",
    "Classifier",
    "Decoder",
    "EncoderDecoder",
    "FeedForward",
    "Layer",
    "Linear",
    "Norm",
    "RelativeBias",
    "Stack",
    "align_rotary",
    "classifier_of",
    "decoder_of",
    "encoder_decoder_of",
    "sentence_encoder_of",
]
