"""Reads single modules of torch models into blueprints; knows no family, no ONNX."""

from __future__ import annotations

from torch import Tensor, nn

from escalade.export.blueprints.blueprint import Activation, Linear, Norm
from escalade.export.errors import ModelError
from escalade.export.quantization import HESSIAN

_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}


def activation_of(name: str) -> Activation:
    """The activation that a config calls by name.

    Raises:
        ModelError: it is none that can be written.
    """
    if name not in _ACTIVATIONS:
        raise ModelError(f"activation must be one of {', '.join(_ACTIVATIONS)}, got {name!r}")
    return _ACTIVATIONS[name]


def linear(parent: nn.Module, path: str) -> Linear:
    """A linear layer, or anything else with a weight, under `parent`."""
    module = parent.get_submodule(path)
    weight, bias = module.weight, getattr(module, "bias", None)
    hessian = getattr(module, HESSIAN, None)
    assert isinstance(weight, Tensor)  # noqa: S101 - nn.Module types attributes loosely
    return Linear(
        weight.detach(),
        bias.detach() if isinstance(bias, Tensor) else None,
        hessian if isinstance(hessian, Tensor) else None,
    )


def conv1d(parent: nn.Module, path: str) -> Linear:
    """GPT-2's linear layer, which keeps its weight as (K, N)."""
    plain = linear(parent, path)
    return Linear(plain.weight.T, plain.bias, plain.hessian)


def rms_norm(parent: nn.Module, path: str) -> Norm:
    """A norm that takes no mean off."""
    epsilon = parent.get_submodule(path).variance_epsilon
    assert isinstance(epsilon, float)  # noqa: S101 - nn.Module types attributes loosely
    return Norm(linear(parent, path).weight, epsilon)


def layer_norm(parent: nn.Module, path: str) -> Norm:
    """A norm that does."""
    module, both = parent.get_submodule(path), linear(parent, path)
    assert isinstance(module, nn.LayerNorm)  # noqa: S101 - the family has no other
    return Norm(both.weight, module.eps, both.bias, centred=True)
