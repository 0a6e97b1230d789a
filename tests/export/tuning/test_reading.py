"""What tuning has a decoder say is what the model says, of every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from escalade.export.blueprints import align_rotary, decoder_of
from escalade.export.onnx.graphs import matrices_of
from escalade.export.onnx.program import storage_of
from escalade.export.onnx.tuned import tables_of
from escalade.export.settings import Settings
from escalade.export.tuning.reading import Reader, norms_of

_WINDOW, _END = 48, 2
LLAMA: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": _WINDOW,
}
GROUPED = {**LLAMA, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 5},
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 16},
    "smollm3": GROUPED,
    "gpt_neox": LLAMA,
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": _WINDOW},
}


def random_model(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=90, pad_token_id=0, bos_token_id=None, eos_token_id=_END,
        **FAMILIES[family],
    )  # fmt: skip
    made = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, attn_implementation="eager"
    )
    model: PreTrainedModel = made.eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(6)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_what_tuning_reads_is_the_model(family: str) -> None:
    model = random_model(family)
    ids = torch.randint(3, 90, (3, 20), generator=torch.Generator().manual_seed(1))
    counted = ids % 3 > 0
    with torch.no_grad():
        exact = model(ids, use_cache=False).logits
        blueprint = align_rotary(decoder_of(model, _WINDOW))
        matrices = matrices_of(blueprint, storage_of(Settings(quantize="int4")))
        reader = Reader(blueprint, matrices, tables_of(matrices), norms_of(blueprint))
        found = reader.logits(ids, counted)
    assert torch.allclose(found, exact[counted], atol=1e-4 * float(exact.abs().max()))
