"""Export, server and training read a folder alike, though transformers reads it otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from odd_tokenizers import NAMED, byte_level
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.edge import Artifact
from escalade.edge.chat import ChatPrompt
from escalade.export.artifact.artifact import export_artifact
from escalade.training.recipes.loading import fingerprint_of, open_checkpoint

TEXTS = ["Hi 123 there", "<turn>1212<end>", " a  b\n", "don't , no ."]
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose class drops the digits of its file, and whose file lacks two tokens."""
    folder = tmp_path_factory.mktemp("models") / "odd"
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=265,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level(digits).save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "chat_template": "{{ turn_token }}{{ messages[0].content }}{{ unk_token }}",
        "turn_token": "<eos>",
        **NAMED,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "added_tokens.json").write_text(json.dumps({"<turn>": 263, "<end>": 264}))
    return folder


def test_all_parts_give_the_same_ids_and_fingerprint(folder: Path, tmp_path: Path) -> None:
    manifest = export_artifact(folder, tmp_path / "out", golden_prompts=["Hi"])
    device = Artifact.open(tmp_path / "out")
    server = TransformersEngine.load(str(folder), threads=1)
    _, training = open_checkpoint(str(folder))
    alone = AutoTokenizer.from_pretrained(folder)
    ids = [device.encode(text) for text in TEXTS]
    assert 263 in ids[1]
    assert 264 in ids[1]
    assert [list(server.encode(text)) for text in TEXTS] == ids
    assert [training(text)["input_ids"] for text in TEXTS] == ids
    assert [alone(text)["input_ids"] for text in TEXTS] != ids
    talk = [{"role": "user", "content": "Hi"}]
    right = alone.apply_chat_template(talk, tokenize=False)
    assert ChatPrompt(device).text(talk) == right == "<eos>Hi<pad>"
    fingerprint = manifest.model.tokenizer_fingerprint
    assert server.info.model.tokenizer_fingerprint == fingerprint
    assert fingerprint_of(training) == fingerprint
