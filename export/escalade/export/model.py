"""Reads a torch model folder: weights, tokenizer, chat template, identity; writes no program."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import (
    CheckpointError,
    Generation,
    check_vocabulary,
    load_network,
    load_tokenizer,
    read_generation,
    tokenizer_fingerprint,
    tokenizer_json,
)
from escalade.edge.artifact import TOKENIZER_NAME, ChatEntry, ModelEntry, Scheme
from escalade.export.errors import ModelError, OptionError
from escalade.export.quiet import quiet
from escalade.v1.identity import weights_revision

CHAT_TEMPLATE_NAME = "chat_template.jinja"
# Longest response by default where the model's folder names none.
_NEW_TOKENS = 256


def load_model(model_dir: Path) -> PreTrainedModel:
    """A causal LM or an encoder-decoder in float32, on the CPU, in eval mode.

    Raises:
        ModelError: the folder holds no such model, or not all of its weights.
    """
    try:
        with quiet():
            return load_network(model_dir, dtype=torch.float32)
    except CheckpointError as error:
        raise ModelError(str(error)) from error


def generation_of(model: PreTrainedModel, model_dir: Path) -> Generation:
    """How a loaded model's answers begin and end.

    Raises:
        ModelError: its folder says something of them that is not taken.
    """
    try:
        return read_generation(model, model_dir)
    except CheckpointError as error:
        raise ModelError(str(error)) from error


def check_fits(model: PreTrainedModel, scheme: Scheme) -> None:
    """Refuse weights that the storage cannot hold.

    Integers have a scale in float32 beside them, which holds what float32 holds; float16 ends at
    65504. What is smaller than it has numbers for becomes 0, by less than norms add to a square.

    Raises:
        ModelError: a matrix has a number beyond float16, which stores all matrices.
    """
    if scheme != "float16":
        return
    for name, values in model.named_parameters():
        if values.ndim > 1 and values.half().isinf().any():
            raise ModelError(
                f"--quantize float16: {name} must be within 65504, reaches"
                f" {float(values.detach().abs().max()):.4g}; use none or int8"
            )


def write_tokenizer(model_dir: Path, folder: Path) -> PreTrainedTokenizerFast:
    """Write the model's tokenizer into `folder`, whole, and return it.

    Raises:
        ModelError: it cannot be read, or cannot be written as one file that says all.
    """
    try:
        with quiet():
            tokenizer = load_tokenizer(model_dir)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    (folder / TOKENIZER_NAME).write_text(tokenizer_json(tokenizer), "utf-8")
    return tokenizer


def write_chat_template(
    tokenizer: PreTrainedTokenizerFast, model_dir: Path, folder: Path
) -> ChatEntry | None:
    """Write the model's chat template into `folder`, where it has one.

    Raises:
        ModelError: it has several, and none of them is the default.
    """
    if not tokenizer.chat_template:
        return None
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several, and none of them is the default
        raise ModelError(f"{model_dir}: chat template: {error}") from error
    (folder / CHAT_TEMPLATE_NAME).write_text(template, "utf-8")
    return ChatEntry(template=CHAT_TEMPLATE_NAME, special_tokens=tokenizer.special_tokens_map)


def usual_new_tokens(window: int, asked: int | None = None) -> int:
    """Longest response by default: what the model asks for, and at most half the window."""
    return min(window // 2, asked or _NEW_TOKENS)


def model_entry(
    model: PreTrainedModel,
    generation: Generation,
    tokenizer: PreTrainedTokenizerFast,
    model_dir: Path,
    folder: Path,
    window: int,
    max_new_tokens: int | None,
    *,
    name: str,
) -> ModelEntry:
    """Who the model is, for the manifest.

    Args:
        model: loaded.
        generation: how it answers.
        tokenizer: the model's, as it was written.
        model_dir: where from.
        folder: the artifact, its tokenizer written.
        window: longest prompt plus response.
        max_new_tokens: longest response by default; if None as long as the model's folder asks
            for, or 256, and at most half the window.
        name: what the model is called.

    Raises:
        ModelError: its files cannot be read.
        OptionError: `max_new_tokens` is out of range.
    """
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    usual = usual_new_tokens(window, generation.max_new_tokens)
    longest = usual if max_new_tokens is None else max_new_tokens
    if not 1 <= longest < window:
        raise OptionError(f"--max-new-tokens must be in [1, {window - 1}], got {longest}")
    try:
        revision = weights_revision(model_dir)
        fingerprint = tokenizer_fingerprint(tokenizer, model_dir)
        check_vocabulary(tokenizer, config.vocab_size, model_dir)
    except (OSError, ValueError) as error:  # a CheckpointError is one
        raise ModelError(str(error)) from error
    return ModelEntry(
        name=name,
        revision=revision,
        tokenizer_fingerprint=fingerprint,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary_size=config.vocab_size,
        window=window,
        end_of_sequence_ids=list(generation.end_ids),
        max_new_tokens=longest,
        layers=getattr(config, "num_decoder_layers", None) or config.num_hidden_layers,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        widest=_widest(config),
        decoder_start_id=generation.decoder_start_id,
        chat=write_chat_template(tokenizer, model_dir, folder),
    )


def _widest(config: PreTrainedConfig) -> int:
    """Of the results between layers: what the feed-forward network makes, gate and all."""
    names = ("intermediate_size", "d_ff", "decoder_ffn_dim", "n_inner")
    inner = max(getattr(config, name, None) or 0 for name in names)
    return 2 * (inner or 4 * config.hidden_size)
