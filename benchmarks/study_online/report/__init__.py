"""Writes docs/results-online.md from the study's runs; makes none."""

from benchmarks.study_online.report.page import write

__all__ = ["write"]
