"""Each sequence to its own keys: what one mask over all of them gives, whatever is in a step."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.continuous_batching.utils import build_attention_mask
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from escalade.cloud.backends.decoding.attention import attend, blocks_of

#: Of a sequence: its new tokens, and how many keys it had before.
sequences = st.tuples(st.just(1) | st.integers(1, 9), st.integers(0, 40))


@settings(max_examples=200)
@given(
    st.lists(sequences, min_size=1, max_size=9),
    st.sampled_from([(4, 4), (6, 2), (3, 1)]),
    st.none() | st.integers(2, 12),
    st.integers(0, 1 << 30),
)
def test_it_is_what_one_mask_gives(
    step: list[tuple[int, int]], heads: tuple[int, int], window: int | None, seed: int
) -> None:
    ends_q, ends_k = [0], [0]
    for new, past in step:
        ends_q.append(ends_q[-1] + new)
        ends_k.append(ends_k[-1] + new + (past if window is None else min(past, window - 1)))
    dice = torch.Generator().manual_seed(seed)
    tokens, keys = ends_q[-1], ends_k[-1]
    query = torch.randn(1, heads[0], tokens, 8, generator=dice)
    key = torch.randn(1, heads[1], keys, 8, generator=dice)
    value = torch.randn(1, heads[1], keys, 6, generator=dice)
    mask = torch.full((1, 1, tokens, keys), torch.finfo(torch.float32).min)
    build_attention_mask(mask, ends_q, ends_k, 1 if window is None else window)
    module = torch.nn.Module()
    module.num_key_value_groups = heads[0] // heads[1]  # type: ignore[assignment]
    expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    blocks = blocks_of(ends_q, ends_k, whole=window is None, dtype=torch.float32)
    read = key[:, :, blocks.read], value[:, :, blocks.read]
    assert torch.allclose(attend(query, *read, mask, blocks, 0.3), expected, atol=1e-5)


def test_a_long_one_does_not_make_all_others_read_as_far() -> None:
    lengths = [10, 12, 900, 11]
    ends_k = [0, 10, 22, 922, 933]
    blocks = blocks_of([0, 1, 2, 3, 4], ends_k, whole=True, dtype=torch.float32)
    assert blocks.apart == [(2, 3, 22, 3 * 12)]
    assert len(blocks.read) == 3 * 12 + 900
    assert blocks.mask is not None
    assert (blocks.mask == 0).sum(dim=-1).flatten().tolist() == [10, 12, 11]
    assert sum(lengths) == ends_k[-1]
