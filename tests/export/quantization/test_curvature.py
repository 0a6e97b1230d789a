"""What gathering gradients takes; what they are, `test_budget.py` has."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from escalade.export.quantization import gather_curvatures

TOKENS = 128


def most_allocated(vocabulary: int) -> int:
    """Bytes of tensors at once, over those there were before."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=2048,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    texts = torch.randint(64, (2, TOKENS)).tolist()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        gather_curvatures(model, texts)
    assert profiled.profiler is not None
    events = profiled.profiler.kineto_results.events()
    held = most = 0
    for _, size in sorted(
        (one.start_ns(), one.nbytes()) for one in events if one.name() == "[memory]"
    ):
        held += size
        most = max(most, held)
    assert most > 0, "the profiler names no allocation"
    return most


def test_logits_are_free_before_blocks_go_their_way_back() -> None:
    logits = 4 * TOKENS * 8192
    assert most_allocated(8192) < most_allocated(64) + logits / 4
