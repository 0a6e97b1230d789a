"""The ExecuTorch program; knows no artifact."""

from escalade.export.executorch.program import PROGRAM_NAME as EXECUTORCH_PROGRAM_NAME
from escalade.export.executorch.program import export_executorch

__all__ = ["EXECUTORCH_PROGRAM_NAME", "export_executorch"]
