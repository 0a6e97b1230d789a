"""Programs that ExecuTorch runs; imports it, so that only who opens one comes here."""

from escalade.edge.runtimes.executorch.decoder import ExecutorchRuntime

__all__ = [
    "ExecutorchRuntime",
]
