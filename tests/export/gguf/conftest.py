"""A tiny Llama whose tokens are bytes, which llama.cpp reads as it does."""

from __future__ import annotations

from pathlib import Path

import pytest

END, TURN = "<eos>", "<|turn|>"
TEMPLATE = "{% for m in messages %}<|turn|>{{ m['content'] }}{% endfor %}"


@pytest.fixture(scope="session")
def bytes_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bytes") / "bytes"
    # llama.cpp loads no tokenizer that merges nothing.
    words = [END, TURN, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
    tokenizer = Tokenizer(
        models.BPE(vocab={word: k for k, word in enumerate(words)}, merges=[("h", "e")])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END, TURN])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.15,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
