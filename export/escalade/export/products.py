"""Says in which numbers a model multiplies while it is calibrated; knows no text, no rounding.

Where a processor multiplies bfloat16 faster than float32, linear layers take it, and what is
between them stays float32. What is drawn and what is measured is then off by what a number loses
there, up to 1 part in 256: little next to what is open after some thousand tokens. Nothing is lost
of the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from escalade.export.memory import drop_pages

# As `torch.cpu.get_capabilities` calls them; elsewhere torch computes in float32 and rounds, which
# takes longer than float32.
_ABLE = ("avx512_bf16", "amx_bf16")
# Of smaller models it is not products that take the time.
_LEAST_PARAMETERS = 10_000_000


def multiplies_short(model: PreTrainedModel) -> bool:
    """Whether a model's products are quicker in bfloat16 here."""
    able = torch.cpu.get_capabilities()
    return model.num_parameters() >= _LEAST_PARAMETERS and any(able.get(name) for name in _ABLE)


@contextmanager
def short_products(model: PreTrainedModel, short: bool | None = None) -> Iterator[None]:
    """Has linear layers multiply in bfloat16; then they have the parameters of before.

    They read and write float32: of one token and a text's keys and values, attention in bfloat16
    takes four times as long as in float32.

    Args:
        model: in float32.
        short: whether at all; None where it is quicker (see `multiplies_short`).
    """
    if not (multiplies_short(model) if short is None else short):
        yield
        return
    whole = list(model.parameters())
    with ExitStack() as after:
        for layer in model.modules():
            if isinstance(layer, nn.Linear | Conv1D):
                for name, parameter in list(layer.named_parameters(recurse=False)):
                    after.callback(setattr, layer, name, parameter)
                    rounded = parameter.detach().bfloat16()
                    setattr(layer, name, nn.Parameter(rounded, requires_grad=False))
                after.callback(layer.register_forward_pre_hook(_shorten).remove)
                after.callback(layer.register_forward_hook(_widen).remove)
        drop_pages(whole)  # till they are read again
        yield


def _shorten(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(one.bfloat16() for one in inputs)


def _widen(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()
