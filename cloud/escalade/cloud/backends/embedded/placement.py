"""Where a model is computed, and in which numbers; knows no folder and no engine."""

from __future__ import annotations

import os
from typing import Final, Literal, NamedTuple

import torch
from transformers import PreTrainedModel

from escalade.cloud.errors import ModelError

_AUTO: Final = "auto"
_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Of several GPUs accelerate fills one after the other, so that a model that one holds is on one.
_SEVERAL = "sequential"
# https://docs.nvidia.com/cuda/cublas/#results-reproducibility
_CUBLAS, _FIXED_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


class Placement(NamedTuple):
    """See `load_network`."""

    device: str
    dtype: torch.dtype | Literal["auto"]


def placement_of(device: str, dtype: str, *, deterministic: bool = False) -> Placement:
    """What a user's words mean on this machine.

    Args:
        device: `auto` is the GPUs there are, or the CPU; or one of `cpu`, `cuda` (the first),
            `cuda:N`, `mps`.
        dtype: `auto` is float32 on the CPU and the checkpoint's own on a GPU; or one of `float32`,
            `bfloat16`, `float16`.
        deterministic: `auto` is float32 everywhere, and CUDA takes no kernel whose sums come in
            another order each time.

    Raises:
        ModelError: there is no such device, or no such type.
    """
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("mps")
    if device == _AUTO:
        place = _SEVERAL if len(gpus) > 1 else (*gpus, "cpu")[0]
    else:
        place = "cuda:0" if device == "cuda" else device
        if place not in {"cpu", *gpus}:
            without = "" if torch.version.cuda else "; this torch is built without CUDA"
            raise ModelError(
                f"device: must be one of {', '.join((_AUTO, 'cpu', *gpus))}, got {device!r}"
                + (without if place.startswith("cuda") else "")
            )
    if dtype not in {_AUTO, *_DTYPES}:
        raise ModelError(f"dtype: must be one of {', '.join((_AUTO, *_DTYPES))}, got {dtype!r}")
    if deterministic and place.startswith(("cuda", _SEVERAL)):
        os.environ.setdefault(_CUBLAS, _FIXED_WORKSPACE)
        torch.use_deterministic_algorithms(True)
    if dtype != _AUTO:
        return Placement(place, _DTYPES[dtype])
    return Placement(place, torch.float32 if deterministic or place == "cpu" else "auto")


def placed(network: PreTrainedModel) -> str:
    """In a line: where a loaded model is, in which numbers, and how much it takes there."""
    devices = sorted({str(values.device) for values in network.parameters()})
    size = network.get_memory_footprint() / 1e6
    dtype = str(network.dtype).removeprefix("torch.")
    return f"on {', '.join(map(_device, devices))}: {dtype}, {size:.1f} MB of weights"


def _device(name: str) -> str:
    if name.startswith("cuda"):
        return f"{name} ({torch.cuda.get_device_name(name)})"
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'' if threads == 1 else 's'}" if name == "cpu" else name
