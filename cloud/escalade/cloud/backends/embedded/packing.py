"""Lays weights out once as the CPU's matrix products read them; knows no folder and no engine.

torch hands them to oneDNN as they lie, which lays them out anew for each product of several rows,
or takes a slower one. SmolLM2-135M in float32 on two x86 cores took 1.3 to 2.7 times as long for
2 to 256 tokens (`python -m benchmarks.cloud.packing`). torch's own compiler does the same where it
freezes a model.
"""

from __future__ import annotations

import platform
from typing import cast

import torch
from torch import Tensor, nn

# Where it was measured.
_MACHINES = frozenset({"x86_64", "AMD64"})
# What oneDNN has kernels for there; in float16 only on few of them.
_DTYPES = frozenset({torch.float32, torch.bfloat16})

# Up to so many rows, a multiple of so many; and of all that are more.
_STEPS, _MANY = ((16, 1), (64, 4)), 32


class PackedLinear(nn.Module):
    """A linear layer whose weights nobody reads but its product.

    Args:
        linear: on the CPU.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # No parameter: only the product below can read it.
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        """See `nn.Linear`."""
        shape = inputs.shape
        rows = inputs.reshape(-1, shape[-1])
        count = len(rows)
        wanted = _rows(count)
        if wanted > count:
            rows = nn.functional.pad(rows, (0, 0, 0, wanted - count))
        product = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
        return cast(Tensor, product)[:count].view(*shape[:-1], -1)


def pack(network: nn.Module) -> None:
    """Lay out the weights of every linear layer, where that is known to be worth it.

    A head that shares its weights with the embeddings gets a copy. What the layers give differs
    from before in the last bits.

    Args:
        network: only for inference from now on; its layers are replaced.
    """
    if not torch.backends.mkldnn.is_available() or platform.machine() not in _MACHINES:
        return
    for module in [*network.modules()]:
        for name, child in [*module.named_children()]:
            if type(child) is nn.Linear and _fits(child.weight):
                setattr(module, name, PackedLinear(child))


def _rows(count: int) -> int:
    """Rows of a product that holds so many.

    oneDNN makes and keeps a program for each number of rows: of all up to 95 it kept 230 MB for the
    bundled large model.
    """
    step = next((step for most, step in _STEPS if count <= most), _MANY)
    return -(-count // step) * step


def _fits(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in _DTYPES
