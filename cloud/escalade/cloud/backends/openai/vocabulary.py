"""What a model's folder says without its weights: tokenizer, window, ends; knows no server.

With it token ids mean something on the wire; `probe.py` holds it against the server.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast
from transformers.utils import GENERATION_CONFIG_NAME

from escalade.checkpoint import (
    CheckpointError,
    check_vocabulary,
    first_line,
    load_tokenizer,
    locate,
    probing_texts,
    read_generation,
    tokenizer_fingerprint,
)
from escalade.cloud.errors import ModelError
from escalade.v1.growing_text import speller
from escalade.v1.prompt_size import longest_token_bytes


class Vocabulary:
    """A tokenizer, and what its model's config says beside it.

    Args:
        tokenizer: of a model's folder.
        fingerprint: of it.
        size: tokens that the model may say.
        context_length: longest prompt plus response, in tokens.
        end_ids: tokens that end an answer.
        parameter_count: of the model.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        fingerprint: str,
        size: int,
        context_length: int,
        end_ids: tuple[int, ...],
        parameter_count: int,
    ) -> None:
        self.fingerprint = fingerprint
        self.size = size
        self.context_length = context_length
        self.end_ids = end_ids
        self.parameter_count = parameter_count
        self.longest_token_bytes = longest_token_bytes(tokenizer.get_vocab())
        #: What a token spells out.
        self.spell = speller(tokenizer.backend_tokenizer)
        self._tokenizer = tokenizer

    def encode(self, text: str, *, special_tokens: bool = True) -> tuple[int, ...]:
        """Token ids of a prompt, `(P,)`, or of a draft without special tokens, `(D,)`."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=special_tokens)["input_ids"]
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response's tokens, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def probes(self) -> list[str]:
        """Texts that show whether another tokenizer is this one; each fits the window."""
        texts = probing_texts(self._tokenizer)
        return [text for text in texts if 0 < len(self.encode(text)) < self.context_length]


def read_vocabulary(model: str) -> Vocabulary:
    """Read a folder with `tokenizer.json` and `config.json`; weights are not looked for.

    Args:
        model: folder, or `hub:NAME`.

    Raises:
        ModelError: something is missing, or does not load, or does not fit together.
    """
    try:
        folder = locate(model).folder
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        if (folder / GENERATION_CONFIG_NAME).is_file():
            network.generation_config = GenerationConfig.from_pretrained(folder)
        generation = read_generation(network, folder)
        tokenizer = load_tokenizer(folder)
        text_config = config.get_text_config()
        size = int(text_config.vocab_size)
        check_vocabulary(tokenizer, size, model)
        fingerprint = tokenizer_fingerprint(tokenizer, folder)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    # transformers raises what it likes; whatever it is, this folder does not load.
    except Exception as error:
        raise ModelError(f"{model}: {first_line(error)}") from error
    window = getattr(text_config, "max_position_embeddings", None)
    if not isinstance(window, int):
        raise ModelError(f"{model}: config.json names no max_position_embeddings")
    return Vocabulary(
        tokenizer,
        fingerprint=fingerprint,
        size=size,
        context_length=window,
        end_ids=generation.end_ids,
        parameter_count=network.num_parameters(),
    )
