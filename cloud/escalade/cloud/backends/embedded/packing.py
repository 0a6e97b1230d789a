"""Lays a model out for the CPU, for fewer and faster operations; knows no folder and no engine.

torch hands weights to oneDNN as they lie, which lays them out anew for each product of several
rows, or takes a slower one. SmolLM2-135M in float32 on two x86 cores took 1.3 to 2.7 times as long
for 2 to 256 tokens (`python -m benchmarks.cloud.packing`). torch's own compiler does the same where
it freezes a model. And a step of few tokens is as slow as it has operations: layers of the same
inputs are one product, a norm is one operation.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn

# Where it was measured.
_MACHINES = frozenset({"x86_64", "AMD64"})
# What oneDNN has kernels for there; in float16 only on few of them.
_DTYPES = frozenset({torch.float32, torch.bfloat16})

# Layers of one module that are asked in this order for the same inputs, as the library names them:
# one product reads the inputs once, and is as fast as a large one is.
_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))

_PRODUCT = torch.ops.mkldnn._linear_pointwise.default

# Up to so many rows, a multiple of so many; and of all that are more.
_STEPS, _MANY = ((16, 1), (64, 4)), 32


class PackedLinear(nn.Module):
    """Linear layers of the same inputs whose weights nobody reads but their product.

    Args:
        linears: on the CPU; all have a bias or none has.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        super().__init__()
        weight = torch.cat([one.weight.detach() for one in linears])
        # No parameter: only the product below can read it.
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        biases = [one.bias.detach() for one in linears if one.bias is not None]
        self._bias = torch.cat(biases) if biases else None

    def forward(self, inputs: Tensor) -> Tensor:
        """See `nn.Linear`; what the layers give stands side by side."""
        shape = inputs.shape
        rows = inputs.reshape(-1, shape[-1])
        count = rows.shape[0]
        more = _rows(count) - count
        if more:
            rows = nn.functional.pad(rows, (0, 0, 0, more))
        product = cast(Tensor, _PRODUCT(rows, self._packed, self._bias, "none", [], ""))
        return (product[:count] if more else product).view(*shape[:-1], -1)


class FusedNorm(nn.Module):
    """A root-mean-square norm in one operation.

    Args:
        weight: `(C,)`.
        epsilon: added to the mean square.
    """

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self._weight, self._epsilon = weight.detach(), epsilon

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs / rms(inputs) * weight`, over the last dimension."""
        return nn.functional.rms_norm(inputs, self._weight.shape, self._weight, self._epsilon)


class _Shared:
    """The product of several layers, until each of them has given its part of it."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self._product = PackedLinear(*linears)
        self._sizes = [one.out_features for one in linears]
        self._inputs: Tensor | None = None
        self._parts: Sequence[Tensor] = ()

    def part(self, number: int, inputs: Tensor) -> Tensor:
        """What a layer gives for inputs; the first computes it for all."""
        if self._inputs is not inputs or number == 0:
            self._inputs, self._parts = inputs, self._product(inputs).split(self._sizes, dim=-1)
        part = self._parts[number]
        if number == len(self._sizes) - 1:
            self._inputs, self._parts = None, ()
        return part


class SharedLinear(nn.Module):
    """One of several layers that are given the same inputs, in their order.

    They may come in another order, and for other inputs; that costs a product more. What may not
    be is that inputs are written over between two of them: a tensor of inference counts no writes.
    """

    def __init__(self, shared: _Shared, number: int) -> None:
        super().__init__()
        self._shared, self._number = shared, number

    def forward(self, inputs: Tensor) -> Tensor:
        """See `nn.Linear`."""
        return self._shared.part(self._number, inputs)


def pack(network: nn.Module) -> None:
    """Lay out the weights of every linear layer, where that is known to be worth it.

    A head that shares its weights with the embeddings gets a copy. What the layers give differs
    from before in the last bits.

    Args:
        network: only for inference from now on, in one thread; its layers are replaced.
    """
    if not torch.backends.mkldnn.is_available() or platform.machine() not in _MACHINES:
        return
    for module in [*network.modules()]:
        linears = {name: one for name, one in module.named_children() if _fits(one)}
        for names in _TOGETHER:
            together = [linears[name] for name in names if name in linears]
            alike = {(one.in_features, one.bias is None) for one in together}
            if len(together) == len(names) and len(alike) == 1:
                shared = _Shared(together)
                for number, name in enumerate(names):
                    setattr(module, name, SharedLinear(shared, number))
                    del linears[name]
        for name, one in linears.items():
            setattr(module, name, PackedLinear(one))
        for name, norm in [*module.named_children()]:
            if (fused := _fused(norm)) is not None:
                setattr(module, name, fused)


def _fused(module: nn.Module) -> FusedNorm | None:
    """A norm that gives the same, bit for bit, where the module is one as the families write it.

    They do not agree on how: some add one to the weight, some round before it.
    """
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, Tensor) or not isinstance(epsilon, float):
        return None
    if weight.device.type != "cpu":
        return None
    fused = FusedNorm(weight, epsilon)
    probe = torch.linspace(-2, 3, 3 * len(weight), dtype=weight.dtype).view(1, 3, -1)
    with torch.inference_mode():
        return fused if torch.equal(fused(probe), module(probe)) else None


def _rows(count: int) -> int:
    """Rows of a product that holds so many.

    oneDNN makes and keeps a program for each number of rows: of all up to 95 it kept 230 MB for the
    bundled large model.
    """
    step = next((step for most, step in _STEPS if count <= most), _MANY)
    return -(-count // step) * step


def _fits(layer: nn.Module) -> TypeGuard[nn.Linear]:
    if type(layer) is not nn.Linear:
        return False
    return layer.weight.device.type == "cpu" and layer.weight.dtype in _DTYPES
