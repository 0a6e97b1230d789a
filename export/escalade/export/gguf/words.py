"""A tokenizer as a GGUF file has it: words, merges and the name of a way to split; no weights.

llama.cpp knows ways to split text by name alone. Which of them a tokenizer's is shows where each
has read the same texts: the name whose tokens are all the tokenizer's own is it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transformers import PreTrainedTokenizerFast

from escalade.checkpoint import Generation, tokenizer_json
from escalade.export.errors import ModelError
from escalade.export.gguf.tokenizer import reads_alike

if TYPE_CHECKING:
    from gguf import GGUFWriter

# Those of the families that are asked for most (llama.cpp, src/llama-vocab.cpp).
_SPLITS = ("gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o", "default")


class Words(NamedTuple):
    """What of a tokenizer goes into a file."""

    words: list[str]
    #: Of each word, by gguf's enum `TokenType`.
    kinds: list[int]
    merges: list[str]
    split: str
    #: By the end of the names of their keys.
    special: dict[str, int]
    begins: bool
    ends: bool
    chat_template: str | None

    def add_to(self, writer: GGUFWriter) -> None:
        """Say all of it."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list(self.words)
        writer.add_token_types(self.kinds)
        writer.add_token_merges(self.merges)
        for name, token in self.special.items():
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
        writer.add_add_bos_token(self.begins)
        writer.add_add_eos_token(self.ends)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def words_of(
    tokenizer: PreTrainedTokenizerFast, generation: Generation, size: int, folder: Path
) -> Words | None:
    """What of a tokenizer goes into a file; None where llama.cpp has none that reads as it does.

    Args:
        tokenizer: any.
        generation: where answers end.
        size: of the model's vocabulary.
        folder: where small files may lie meanwhile.

    Raises:
        ArtifactError: llama.cpp is not installed.
    """
    model = json.loads(tokenizer_json(tokenizer))["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        return None
    found = _read(tokenizer, generation, size, model)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as beside:
        path = Path(beside) / "words.gguf"
        for split in _SPLITS:
            tried = found._replace(split=split)
            _write_alone(tried, path)
            try:
                if reads_alike(path, tokenizer):
                    return tried
            except ModelError:  # llama.cpp has no tokenizer of its kind, as of one without merges
                continue
    return None


def _read(
    tokenizer: PreTrainedTokenizerFast, generation: Generation, size: int, model: dict[str, object]
) -> Words:
    from gguf import TokenType

    words = [f"[PAD{place}]" for place in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for word, place in tokenizer.get_vocab().items():
        words[place], kinds[place] = word, int(TokenType.NORMAL)
    for place, token in tokenizer.added_tokens_decoder.items():
        kinds[place] = int(TokenType.CONTROL if token.special else TokenType.USER_DEFINED)
    end, *others = generation.end_ids
    named = {
        "bos": tokenizer.bos_token_id,
        "eos": end,
        "eot": others[0] if others else None,
        "eom": others[1] if len(others) > 1 else None,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    around = list(tokenizer("a").input_ids)
    merges = model["merges"]
    assert isinstance(merges, list)  # noqa: S101 - tokenizers wrote it
    return Words(
        words=words,
        kinds=kinds,
        merges=[one if isinstance(one, str) else " ".join(one) for one in merges],
        split="",
        special={name: token for name, token in named.items() if token is not None},
        begins=around[:1] == [tokenizer.bos_token_id],
        ends=around[-1:] == [end],
        chat_template=tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
    )


def _write_alone(words: Words, path: Path) -> None:
    """A file without weights, for llama.cpp to read its tokenizer."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    words.add_to(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
