"""Traces to the figures and numbers of the CAT paper; the entry point is `evaluate.evaluate`."""
