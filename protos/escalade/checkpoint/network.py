"""Loads the weights of a model's folder, all of them or none; knows no tokenizer."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from escalade.checkpoint.errors import CheckpointError, first_line

Kind = Literal["causal", "encoder-decoder"]
_CLASSES = {"causal": AutoModelForCausalLM, "encoder-decoder": AutoModelForSeq2SeqLM}


def load_network(
    folder: Path,
    *,
    dtype: torch.dtype | Literal["auto"],
    kinds: tuple[Kind, ...] = ("causal", "encoder-decoder"),
) -> PreTrainedModel:
    """A model on the CPU in eval mode, with every weight it has read from safetensors.

    Args:
        folder: as transformers' `save_pretrained` leaves it.
        dtype: of the weights in memory; `auto` keeps them as they are stored.
        kinds: what the caller can run.

    Raises:
        CheckpointError: the folder holds no such model, or not all of its weights, or numbers
            that are none.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: not a model folder: config.json is missing")
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder}: no *.safetensors; other weight formats are not loaded")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kind: Kind = "encoder-decoder" if config.is_encoder_decoder else "causal"
        if kind not in kinds:
            raise CheckpointError(f"{folder}: must be a {' or '.join(kinds)} model, is {kind}")
        network, loading = cast(
            "tuple[PreTrainedModel, dict[str, set[str]]]",
            _CLASSES[kind].from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            ),
        )
    except CheckpointError:
        raise
    # safetensors, huggingface_hub and transformers each raise what they like, bare Exception
    # included; whatever it is, this folder does not load.
    except Exception as error:
        raise CheckpointError(f"{folder}: cannot be loaded: {first_line(error)}") from error
    if missing := sorted(loading["missing_keys"]):
        # transformers fills them with random numbers and only logs it
        raise CheckpointError(f"{folder}: weights missing: {', '.join(missing)}")
    for name, values in itertools.chain(network.named_parameters(), network.named_buffers()):
        if not torch.isfinite(values).all():
            raise CheckpointError(f"{folder}: {name} must be finite, holds NaN or infinity")
    network.train(False)
    return network
