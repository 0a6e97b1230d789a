"""The ExecuTorch program; knows no artifact."""

from escalade.export.executorch.program import PROGRAM_NAME as EXECUTORCH_PROGRAM_NAME
from escalade.export.executorch.program import export_executorch
from escalade.export.executorch.stored import embedding_bits_of

__all__ = ["EXECUTORCH_PROGRAM_NAME", "embedding_bits_of", "export_executorch"]
