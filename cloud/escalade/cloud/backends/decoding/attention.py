"""Attention of a batch on the CPU, each sequence to its own keys; knows no model, no queue.

The library lays the keys of all sequences in one row, has every token attend to all of them, and
masks those of the others: of 64 sequences 63 parts of 64 are computed for nothing. Here tokens that
are generated attend together, each to its own keys in a row as long as the longest, and pieces of
prompts one after the other. Sums are of the same numbers, in another order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.generation.continuous_batching.cache_allocators import FULL_ATTENTION
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

# Of the row that all generated tokens attend to: what is longer than so many times the mean is
# attended to alone, for the others would read as far.
_LONG = 2.0


class Blocks(NamedTuple):
    """Which keys a step's tokens attend to, in the layers of one kind."""

    #: `(n,)` places of generated tokens among all; empty where they go one by one too.
    tokens: Tensor
    #: Whether those are all tokens, in their order.
    alone: bool
    #: `(R,)` places of keys among all, as they are to be read: `(n, L)` of the generated tokens,
    #: then those of the others.
    read: Tensor
    #: `(n, 1, 1, L)`, added: what is beyond a sequence's end is masked. None where nothing is.
    mask: Tensor | None
    #: Of each other sequence, its tokens: from, to; where its keys begin among all, and in `read`.
    apart: list[tuple[int, int, int, int]]


def blocks_of(ends_q: list[int], ends_k: list[int], *, whole: bool, dtype: torch.dtype) -> Blocks:
    """Which keys a step's tokens attend to.

    Args:
        ends_q: `(N + 1,)` where each sequence's tokens begin, and the last ends.
        ends_k: `(N + 1,)` of the keys.
        whole: whether each token attends to all before it; in a window the mask says to which.
        dtype: of the mask.
    """
    spans = [*zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False)]
    single = [span for span in spans if span[1] - span[0] == 1] if whole else []
    most = _LONG * sum(span[3] - span[2] for span in single) / max(1, len(single))
    together = [span for span in single if span[3] - span[2] <= most]
    apart = [span for span in spans if span not in together and span[1] > span[0]]
    begins = torch.tensor([span[2] for span in together], dtype=torch.long)
    counts = torch.tensor([span[3] - span[2] for span in together], dtype=torch.long)
    places = torch.arange(int(counts.max()) if together else 0)
    there = places < counts[:, None]
    keys = torch.where(there, begins[:, None] + places, begins[:, None]).reshape(-1)
    mask = torch.zeros(there.shape, dtype=dtype).masked_fill(~there, torch.finfo(dtype).min)
    places_of_others = [torch.arange(first, last) for _, _, first, last in apart]
    at = len(keys)
    others = []
    for begin, end, first, last in apart:
        others.append((begin, end, first, at))
        at += last - first
    return Blocks(
        torch.tensor([span[0] for span in together], dtype=torch.long),
        not apart and len(together) == ends_q[-1],
        torch.cat([keys, *places_of_others]),
        None if bool(there.all()) else mask[:, None, None],
        others,
    )


class Step(NamedTuple):
    """What the layers of one kind share while a step is computed."""

    blocks: Blocks
    #: `(R,)` places in the cache of the keys that are to be read, in the order of `Blocks.read`.
    read_index: Tensor


#: By kind of layer, of the step that is computed now.
Steps = dict[str, Step]
#: Where a cache has them: one of a batch on the CPU does.
STEPS = "steps_of_escalade"


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, blocks: Blocks, scale: float | None
) -> Tensor:
    """What the tokens of a step attend to.

    Args:
        query: `(1, H, T, d)`.
        key: `(1, G, R, d)` as `Blocks.read` says, H a multiple of G.
        value: `(1, G, R, v)`.
        mask: `(1, 1, T, K)`, added; read for the sequences that go alone.
        blocks: of the layer's kind.
        scale: None is one over the root of d.

    Returns:
        `(1, T, H, v)`.
    """
    heads, groups = query.shape[1], key.shape[1]
    found = None
    if count := len(blocks.tokens):
        # A head's queries of one group stand as tokens before the group's keys, which are read
        # once, and where they lie.
        asked = query[0].transpose(0, 1)
        asked = asked if blocks.alone else asked[blocks.tokens]
        rows = blocks.apart[0][3] if blocks.apart else key.shape[2]
        found = scaled_dot_product_attention(
            asked.reshape(count, groups, -1, query.shape[-1]),
            key[0, :, :rows].unflatten(1, (count, -1)).transpose(0, 1),
            value[0, :, :rows].unflatten(1, (count, -1)).transpose(0, 1),
            blocks.mask,
            scale=scale,
        ).reshape(1, count, heads, -1)
        if blocks.alone:
            return found
    out = query.new_empty(1, query.shape[2], heads, value.shape[-1])
    if found is not None:
        out[0, blocks.tokens] = found[0]
    ends = [one[3] for one in blocks.apart[1:]] + [key.shape[2]]
    for (begin, end, first, at), to in zip(blocks.apart, ends, strict=True):
        each = scaled_dot_product_attention(
            query[:, :, begin:end],
            repeat_kv(key[:, :, at:to], heads // groups),
            repeat_kv(value[:, :, at:to], heads // groups),
            mask[:, :, begin:end, first : first + to - at],
            scale=scale,
        )
        out[:, begin:end] = each.transpose(1, 2)
    return out


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    cache: PagedAttentionCache | None = None,
    **kwargs: Any,  # noqa: ANN401 - the library's, handed on
) -> tuple[Tensor, None]:
    """The library's `sdpa`, but of a batch with `Steps`; see `sdpa_attention_forward`."""
    steps: Steps | None = getattr(cache, STEPS, None)
    if cache is None or steps is None or attention_mask is None or kwargs.get("position_bias"):
        given = {"scaling": scaling, "cache": cache, **kwargs}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    layer = int(module.layer_idx)  # type: ignore[arg-type] # each layer has its number
    allocator = cache.layer_to_allocator[layer]
    kind, number = allocator.layer_type, allocator.index
    step = steps.get(kind)
    if step is None:
        step = steps[kind] = _step_of(kwargs, kind, number, query.dtype)
    kwargs["read_index"] = [*kwargs["read_index"]]
    kwargs["read_index"][number] = step.read_index
    key, value = cache.update(key, value, layer, kwargs)
    return attend(query, key, value, attention_mask, step.blocks, scaling), None


def _step_of(kwargs: dict[str, Any], kind: str, number: int, dtype: torch.dtype) -> Step:
    """What the layers of a kind share, of what the library tells each of them."""
    ends_q, ends_k = kwargs["cu_seq_lens_q"].tolist(), kwargs["cu_seq_lens_k"][kind].tolist()
    whole = kind == FULL_ATTENTION
    blocks = blocks_of(ends_q, ends_k, whole=whole, dtype=dtype)
    read_index: Tensor = kwargs["read_index"][number]
    if whole:
        # Where nothing was there before, the library does not say where it is to be read; it is
        # what is written. In a window not all of that is kept.
        there = read_index if len(read_index) else kwargs["write_index"][number]
        read_index = there[blocks.read]
    return Step(blocks, read_index)


def install(cache: PagedAttentionCache) -> Steps:
    """Have the layers of a batch on the CPU ask `attention` where they ask for `sdpa`.

    Returns:
        What is to be cleared before each step.
    """
    AttentionInterface.register("sdpa", attention)
    steps: Steps = {}
    setattr(cache, STEPS, steps)
    return steps
