"""Tunes what rounded matrices of a decoder come to, all together; knows no graph, no file."""

from escalade.export.tuning.reading import Tables, norms_of
from escalade.export.tuning.together import Matrix, Tuning

__all__ = ["Matrix", "Tables", "Tuning", "norms_of"]
