"""Writes docs/results-ensembles.md from the study's pools; records none."""

from benchmarks.study_ensembles.report.page import write

__all__ = ["write"]
