"""The KV cache of a model: how many tokens so many bytes hold, and how full it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.generation.continuous_batching.continuous_api import ContinuousBatchProcessor

from escalade.cloud.errors import ModelError

#: Tokens of a page. A sequence wastes half of one on average; the library's own default is 256.
PAGE_TOKENS = 32
# Of the memory that is free: the weights are in it already, activations and clients are to come. On
# a GPU nothing else does; transformers' own share is 0.9, and scores of long texts come on top.
_SHARE_OF_FREE, _SHARE_OF_GPU = 0.25, 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class KvMemory:
    """A KV cache's size."""

    pages: int
    bytes_per_token: int

    @property
    def tokens(self) -> int:
        """Of all sequences together."""
        return self.pages * PAGE_TOKENS

    @property
    def bytes(self) -> int:
        """Of keys and values in all layers."""
        return self.tokens * self.bytes_per_token


class Load(NamedTuple):
    """How full a batch is."""

    sequences: int
    #: Of the KV cache: all, those that sequences hold, and those kept for ones that begin alike.
    pages: int
    pages_used: int
    pages_kept: int


def load_of(processor: ContinuousBatchProcessor) -> Load:
    """How full a batch is just now; from any thread, between two steps or in the midst of one."""
    cache = processor.cache
    each = [(one.index, one.blocks_per_sector) for one in cache.cache_allocators.values()]
    # The kinds of attention share the sectors; a page is counted as the first kind cuts it.
    per_sector = each[0][1]
    free = cache.pool.num_free_sectors * per_sector + sum(
        cache.pool.count_free_blocks(index) * per_sector // blocks for index, blocks in each
    )
    kept = sum(
        len(one.ledger.cached_blocks) * per_sector // one.blocks_per_sector
        for one in cache.cache_allocators.values()
    )
    pages = cache.num_sectors * per_sector
    return Load(
        sequences=len(processor.scheduler.active_requests),
        pages=pages,
        pages_used=max(0, pages - free - kept),
        pages_kept=kept,
    )


def kv_memory_of(
    network: PreTrainedModel, *, sequences: int, window: int, at_most: int | None
) -> KvMemory:
    """What to allocate: enough for all sequences at full length, or what there is.

    Args:
        network: loaded.
        sequences: that are to run at once, at least 1.
        window: tokens of the longest.
        at_most: bytes; None is a quarter of the memory that is free now, or 0.8 of a GPU's.

    Raises:
        ModelError: it would not hold one page.
    """
    config = network.config.get_text_config()
    each = _bytes_per_token(config, network.dtype.itemsize)
    free = _free_bytes(network.device)
    on_gpu = network.device.type != "cpu"
    share = _SHARE_OF_GPU if on_gpu else _SHARE_OF_FREE
    limit = int(free * share) if at_most is None else at_most
    wanted = sequences * -(-window // PAGE_TOKENS)
    pages = min(wanted, limit // (each * PAGE_TOKENS))
    if at_most is None and not on_gpu:  # one at full length, if it can be had at all
        pages = max(pages, min(-(-window // PAGE_TOKENS), free // (each * PAGE_TOKENS)))
    if pages < 1:
        raise ModelError(
            f"kv_memory: must be at least {each * PAGE_TOKENS} bytes, a page of {PAGE_TOKENS}"
            f" tokens, got {limit}"
        )
    return KvMemory(pages=pages, bytes_per_token=each)


class Untouched(TorchFunctionMode):
    """While it is entered, large tensors of zeros on the CPU take memory only as they are written.

    torch writes its zeros, so that a cache of several GB is in RAM as a whole, after seconds,
    before there is anything in it; numpy asks the system for pages that are zero.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """See `TorchFunctionMode`."""
        asked = dict(kwargs or {})
        device = torch.device(cast("torch.device", asked.get("device", "cpu")))
        if func is torch.zeros and device.type == "cpu" and asked.get("dtype") == torch.uint8:
            return torch.from_numpy(np.zeros(cast("tuple[int]", args), np.uint8))
        return func(*args, **asked)


def _bytes_per_token(config: PreTrainedConfig, itemsize: int) -> int:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    keys_and_values = 2
    return int(keys_and_values * config.num_hidden_layers * heads * head_dim * itemsize)


def _free_bytes(device: torch.device) -> int:
    """Memory that may be taken of a device."""
    if device.type == "cuda":  # what torch keeps for itself may be taken too
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return _free_of_machine()


def _free_of_machine() -> int:
    """Memory that may be taken: the machine's, or the control group's where that is less.

    What the system keeps of files, the weights just read among them, may be taken.
    """
    free = _numbers(Path("/proc/meminfo")).get("MemAvailable:", 0) << 10
    if not free:  # no Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    group = Path("/sys/fs/cgroup")
    try:  # version 2; "max" where there is no limit
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    kept = _numbers(group / "memory.stat").get("inactive_file", 0)
    return min(free, max(0, limit - used + kept))


def _numbers(path: Path) -> dict[str, int]:
    """The first number behind each name."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
