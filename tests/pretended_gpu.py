"""A GPU that is pretended: what lies there is computed by the CPU, and refuses to meet the CPU's.

torch asks a mode and a tensor's class before it computes anything, so both can say that numbers lie
on a device of another name. A pretended tensor and one of the CPU together are an error, as on a
real device, but for single numbers. To import it registers the device for the whole process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretended")
torch.get_device_module("pretended").__name__ = "torch.pretended"  # which transformers reads
DEVICE = torch.device("pretended", 0)
Operator = Any  # torch._ops.OpOverload
_COPIED_INTO = torch.ops.aten.copy_.default


class Pretended(torch.Tensor):
    """A tensor that says it lies on the device; its numbers are `there`."""

    there: torch.Tensor

    @staticmethod
    def __new__(cls: type[Pretended], there: torch.Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            there.size(),
            strides=there.stride(),
            storage_offset=there.storage_offset(),
            dtype=there.dtype,
            device=DEVICE,
            requires_grad=there.requires_grad,
        )
        made.there = there
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Operator, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        whole = func.decompose(*args, **(kwargs or {}))
        return _compute(func, args, dict(kwargs or {})) if whole is NotImplemented else whole

    def tolist(self) -> Any:
        """torch refuses it for every subclass."""
        return self.there.tolist()


class _Pretending(TorchDispatchMode):
    """New tensors of the device are pretended ones."""

    def __torch_dispatch__(
        self, func: Operator, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with self:
            whole = func.decompose(*args, **(kwargs or {}))
        return _compute(func, args, dict(kwargs or {})) if whole is NotImplemented else whole


def _compute(func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operator that is no composite, where its tensors lie or its `device` says."""
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = any(isinstance(one, Pretended) for one in tensors)
    here = any(not isinstance(one, Pretended) and one.dim() for one in tensors)
    if there and here and func is not _COPIED_INTO:
        raise RuntimeError(f"{func}: tensors on the pretended GPU and on the CPU")
    result_there = isinstance(args[0], Pretended) if func is _COPIED_INTO else there
    if (device := kwargs.get("device")) is not None:
        result_there = torch.device(device).type == DEVICE.type
        kwargs["device"] = "cpu" if result_there else device
    inner = tree_map(lambda one: one.there if isinstance(one, Pretended) else one, (args, kwargs))
    result = func(*inner[0], **inner[1])
    if not result_there:
        return result
    wrapped = tree_map(lambda one: Pretended(one) if isinstance(one, torch.Tensor) else one, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """There is such a GPU, in this thread and in those that are started meanwhile."""
    run = threading.Thread.run

    def pretending(thread: threading.Thread) -> None:
        with _in_this_thread():
            run(thread)

    threading.Thread.run = pretending
    try:
        with _in_this_thread():
            yield DEVICE
    finally:
        threading.Thread.run = run


@contextmanager
def _in_this_thread() -> Iterator[None]:
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device=)` asks the mode, too
    try:
        with _Pretending():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
