"""Writes docs/results-ensembles.md from the study's pools; records none."""

from benchmarks.study_ensembles.report.costs import PRICES, read_prices
from benchmarks.study_ensembles.report.page import write

__all__ = ["PRICES", "read_prices", "write"]
