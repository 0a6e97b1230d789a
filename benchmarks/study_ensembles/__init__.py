"""Cascades of ensembles on labels: a zoo of classifiers, recorded once, in many cascades.

`make study-ensembles` runs it and writes docs/results-ensembles.md.
"""
