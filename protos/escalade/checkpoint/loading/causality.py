"""Whether a loaded model runs, sees no token that comes later, and goes on from a cache.

Everything here reads a text from the left: a response is scored in one pass over all of it, and
generated token by token. Of a model that attends both ways the two would differ.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from escalade.checkpoint.errors import CheckpointError, first_line

# Tokens that are read: the first half of them followed by two others, and token by token.
_TOKENS = 8
_HALF = _TOKENS // 2
# Share of the largest logit by which float32 may differ that is summed in another order, and half
# as many bits: an expert that is chosen by a hair may be another there.
_TOLERANCE, _HALF_TOLERANCE = 1e-3, 5e-2


@torch.inference_mode()
def check_causal(model: PreTrainedModel, folder: Path) -> None:
    """Read two texts that begin alike, and one of them by token; what is said must be the same.

    Args:
        model: in eval mode.
        folder: where from.

    Raises:
        CheckpointError: it is not, or the model does not run.
    """
    try:
        _check(model)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    # What a model raises that does not run is its own affair.
    except Exception as error:
        raise CheckpointError(f"{folder}: the model does not run: {first_line(error)}") from error


def _check(model: PreTrainedModel) -> None:
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    one = torch.arange(_TOKENS)[None] % vocabulary
    other = one.clone()
    other[:, _HALF:] = (vocabulary - 1 - torch.arange(_HALF)) % vocabulary
    one, other = one.to(model.device), other.to(model.device)
    whole = _whole(model, one)
    if whole.isnan().any():
        dtype = str(model.dtype).removeprefix("torch.")
        raise CheckpointError(f"its logits must be numbers, hold NaN in {dtype}")
    exact = model.dtype in {torch.float32, torch.float64}
    near = (_TOLERANCE if exact else _HALF_TOLERANCE) * max(float(whole.abs().max()), 1e-3)
    if float((whole - _whole(model, other))[:_HALF].abs().max()) > near:
        raise CheckpointError("the model sees tokens that come later: it must be causal")
    if model.config.is_encoder_decoder:
        return
    if float((whole - _by_token(model, one)).abs().max()) > near:
        raise CheckpointError(
            "the model says another thing token by token than of a text at once: it must go on from"
            " its cache of keys and values"
        )


def _whole(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """`(T, V)`, of a text read at once; an encoder reads half of it."""
    seq2seq = model.config.is_encoder_decoder
    inputs = {"input_ids": ids}
    if seq2seq:
        inputs = {"input_ids": ids[:, :_HALF], "decoder_input_ids": ids}
    logits: Tensor = model(**inputs, use_cache=False).logits[0].float()
    return logits


def _by_token(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """The same of half a text at once, and then of a token after another."""
    said, cache = [], None
    for part in (ids[:, :_HALF], *ids[:, _HALF:].split(1, dim=1)):
        output = model(input_ids=part, past_key_values=cache, use_cache=True)
        cache = getattr(output, "past_key_values", None)
        if cache is None:
            raise CheckpointError(
                f"a {model.config.model_type} is not taken: it must go on from a cache of keys and"
                " values"
            )
        said.append(output.logits[0].float())
    return torch.cat(said)
