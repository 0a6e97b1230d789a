"""Reads single modules of torch models into blueprints; knows no family, no ONNX."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedConfig

from escalade.checkpoint import ACTIVATIONS, Activation, CheckpointError, check_onnx
from escalade.export.blueprints.blueprint import Linear, Norm
from escalade.export.errors import ModelError
from escalade.export.quantization import CURVATURE, hessian_of


def check_written(config: PreTrainedConfig, window: int) -> None:
    """Refuse a family, or a setting of it, that is not written.

    Raises:
        ModelError: it is none.
    """
    try:
        check_onnx(config, window)
    except CheckpointError as error:
        raise ModelError(str(error)) from error


def activation_of(name: str) -> Activation:
    """The activation that a config calls by name, one that is written."""
    return ACTIVATIONS[name]


def linear(parent: nn.Module, path: str) -> Linear:
    """A linear layer, or anything else with a weight, under `parent`."""
    module = parent.get_submodule(path)
    weight, bias = module.weight, getattr(module, "bias", None)
    curvature = getattr(module, CURVATURE, None)
    assert isinstance(weight, Tensor)  # noqa: S101 - nn.Module types attributes loosely
    return Linear(
        weight.detach(),
        bias.detach() if isinstance(bias, Tensor) else None,
        hessian_of(module),
        curvature if isinstance(curvature, Tensor) else None,
    )


def conv1d(parent: nn.Module, path: str) -> Linear:
    """GPT-2's linear layer, which keeps its weight as (K, N)."""
    plain = linear(parent, path)
    return Linear(plain.weight.T, plain.bias, plain.hessian, plain.curvature)


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
