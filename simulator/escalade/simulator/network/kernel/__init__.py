"""A network that the kernel makes, of namespaces and netem; knows no gRPC, no trace."""

from escalade.simulator.network.kernel.network import CLOUD, KernelNetwork
from escalade.simulator.network.kernel.probing import KernelPart, kernel_lacks, probe_kernel
from escalade.simulator.network.kernel.qdiscs import shaping_lines

__all__ = [
    "CLOUD",
    "KernelNetwork",
    "KernelPart",
    "kernel_lacks",
    "probe_kernel",
    "shaping_lines",
]
