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
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

# Of the row that all generated tokens attend to: what is longer than so many times the mean is
# attended to alone, for the others would read as far.
_LONG = 2.0


class Blocks(NamedTuple):
    """Which keys a step's tokens attend to, in the layers of one kind."""

    #: `(n,)` places of generated tokens among all; empty where they go one by one too.
    tokens: Tensor
    #: `(n, L)` places of their keys among all; what is beyond a sequence's end is masked.
    keys: Tensor
    #: `(n, 1, 1, L)`, True where there is a key.
    mask: Tensor
    #: Of each other sequence, its tokens and its keys: from, to.
    apart: list[tuple[int, int, int, int]]


def blocks_of(ends_q: list[int], ends_k: list[int], *, whole: bool) -> Blocks:
    """Which keys a step's tokens attend to.

    Args:
        ends_q: `(N + 1,)` where each sequence's tokens begin, and the last ends.
        ends_k: `(N + 1,)` of the keys.
        whole: whether each token attends to all before it; in a window the mask says to which.
    """
    spans = [*zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False)]
    single = [span for span in spans if span[1] - span[0] == 1] if whole else []
    most = _LONG * sum(span[3] - span[2] for span in single) / max(1, len(single))
    together = [span for span in single if span[3] - span[2] <= most]
    apart = [span for span in spans if span not in together and span[1] > span[0]]
    begins = torch.tensor([span[2] for span in together], dtype=torch.long)
    counts = torch.tensor([span[3] - span[2] for span in together], dtype=torch.long)
    places = torch.arange(int(counts.max()) if together else 0)
    mask = places < counts[:, None]
    return Blocks(
        torch.tensor([span[0] for span in together], dtype=torch.long),
        torch.where(mask, begins[:, None] + places, begins[:, None]),
        mask[:, None, None],
        apart,
    )


#: By kind of layer, of the step that is computed now.
Steps = dict[str, Blocks]
#: Where a cache has them: one of a batch on the CPU does.
STEPS = "steps_of_escalade"


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, blocks: Blocks, scale: float | None
) -> Tensor:
    """What the tokens of a step attend to.

    Args:
        query: `(1, H, T, d)`.
        key: `(1, G, K, d)`, H a multiple of G.
        value: `(1, G, K, v)`.
        mask: `(1, 1, T, K)`, added; read for the sequences that go alone.
        blocks: of the layer's kind.
        scale: None is one over the root of d.

    Returns:
        `(1, T, H, v)`.
    """
    heads, groups = query.shape[1], key.shape[1]
    # A head's queries of one group stand as tokens before the group's keys, which are read once.
    out = query.new_empty(1, query.shape[2], heads, value.shape[-1])
    if len(blocks.tokens):
        count, longest = blocks.keys.shape
        asked = (
            query[0, :, blocks.tokens].transpose(0, 1).reshape(count, groups, -1, query.shape[-1])
        )
        rows = blocks.keys.reshape(-1)
        keys = key[0].index_select(1, rows).unflatten(1, (count, longest)).transpose(0, 1)
        values = value[0].index_select(1, rows).unflatten(1, (count, longest)).transpose(0, 1)
        found = scaled_dot_product_attention(asked, keys, values, blocks.mask, scale=scale)
        out[0, blocks.tokens] = found.reshape(count, heads, -1)
    for begin, end, first, last in blocks.apart:
        found = scaled_dot_product_attention(
            query[:, :, begin:end],
            repeat_kv(key[:, :, first:last], heads // groups),
            repeat_kv(value[:, :, first:last], heads // groups),
            mask[:, :, begin:end, first:last],
            scale=scale,
        )
        out[:, begin:end] = found.transpose(1, 2)
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
    key, value = cache.update(key, value, layer, kwargs)
    kind = cache.layer_to_allocator[layer].layer_type
    blocks = steps.get(kind)
    if blocks is None:
        # `update` has left those of this kind alone.
        ends_q, ends_k = kwargs["cu_seq_lens_q"], kwargs["cu_seq_lens_k"]
        whole = kind == "full_attention"
        blocks = steps[kind] = blocks_of(ends_q.tolist(), ends_k.tolist(), whole=whole)
    return attend(query, key, value, attention_mask, blocks, scaling), None


def install(cache: PagedAttentionCache) -> Steps:
    """Have the layers of a batch on the CPU ask `attention` where they ask for `sdpa`.

    Returns:
        What is to be cleared before each step.
    """
    AttentionInterface.register("sdpa", attention)
    steps: Steps = {}
    setattr(cache, STEPS, steps)
    return steps
