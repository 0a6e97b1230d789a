"""A cache that holds nothing yet is not in RAM."""

from __future__ import annotations

import psutil
import torch

from escalade.cloud.backends.decoding.memory import Untouched

LARGE = 256 << 20


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


def test_zeros_take_memory_only_as_they_are_written() -> None:
    before = resident()
    with Untouched():
        zeros = torch.zeros(LARGE, dtype=torch.uint8, device=torch.device("cpu"))
    assert resident() - before < LARGE // 8
    as_floats = zeros.view(torch.float32).view(-1, 1024)
    as_floats[: len(as_floats) // 2] = 1.0
    assert LARGE // 3 < resident() - before < 2 * LARGE // 3
    assert as_floats.sum() == as_floats.numel() // 2


def test_all_else_is_torchs_own() -> None:
    with Untouched():
        floats = torch.zeros(3, 2)
        elsewhere = torch.zeros(4, dtype=torch.uint8, device="meta")
        ones = torch.ones(3, dtype=torch.uint8)
    assert (floats.dtype, floats.shape, floats.tolist()[0]) == (torch.float32, (3, 2), [0.0, 0.0])
    assert elsewhere.device.type == "meta"
    assert ones.tolist() == [1, 1, 1]
