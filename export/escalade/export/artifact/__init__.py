"""Writes artifacts, each kind of model its own way; knows no network."""

from escalade.export.artifact.artifact import DEFAULT_GOLDEN_PROMPTS, export_artifact
from escalade.export.artifact.classifier import DEFAULT_GOLDEN_TEXTS, export_classifier
from escalade.export.artifact.gguf_file import export_gguf_file
from escalade.export.artifact.layouts import layout_of
from escalade.export.artifact.sentences import export_sentence_encoder

__all__ = [
    "DEFAULT_GOLDEN_PROMPTS",
    "DEFAULT_GOLDEN_TEXTS",
    "export_artifact",
    "export_classifier",
    "export_gguf_file",
    "export_sentence_encoder",
    "layout_of",
]
