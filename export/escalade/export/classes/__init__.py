"""Artifacts of linear classifiers, and classes held against the originals; needs no torch."""

from escalade.export.classes.linear import DEFAULT_GOLDEN_TEXTS, export_linear_folder
from escalade.export.classes.parity import check_labels_given, label_golden, measure_labels

__all__ = [
    "DEFAULT_GOLDEN_TEXTS",
    "check_labels_given",
    "export_linear_folder",
    "label_golden",
    "measure_labels",
]
