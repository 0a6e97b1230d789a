"""Writes artifacts, each kind of model its own way; knows no network."""

from escalade.export.artifacts.artifact import DEFAULT_GOLDEN_PROMPTS, export_artifact
from escalade.export.artifacts.classifier import DEFAULT_GOLDEN_TEXTS, export_classifier
from escalade.export.artifacts.gguf_file import export_gguf_file
from escalade.export.artifacts.layouts import layout_of
from escalade.export.artifacts.sentences import export_sentence_encoder

__all__ = [
    "DEFAULT_GOLDEN_PROMPTS",
    "DEFAULT_GOLDEN_TEXTS",
    "export_artifact",
    "export_classifier",
    "export_gguf_file",
    "export_sentence_encoder",
    "layout_of",
]
