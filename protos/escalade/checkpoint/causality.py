"""Whether a loaded model runs and sees no token that comes later; knows no file.

Everything here reads a text from the left: a response is scored in one pass over all of it, and
generated token by token. Of a model that attends both ways the two would differ.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedModel

from escalade.checkpoint.errors import CheckpointError, first_line

# Tokens that are read, the second half of them in two ways.
_TOKENS = 8
# Share of the largest logit by which the first half may differ: products of float32 in another
# order; of half as many bits.
_TOLERANCE, _HALF_TOLERANCE = 1e-4, 2e-2


@torch.inference_mode()
def check_causal(model: PreTrainedModel, folder: Path) -> None:
    """Read two texts that begin alike; what is said of their beginning must be the same.

    Args:
        model: on the CPU, in eval mode.
        folder: where from.

    Raises:
        CheckpointError: it is not, or the model does not run.
    """
    vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
    half = _TOKENS // 2
    one = torch.arange(_TOKENS)[None] % vocabulary
    other = one.clone()
    other[:, half:] = (vocabulary - 1 - torch.arange(half)) % vocabulary
    try:
        first, second = (_logits(model, ids)[0, :half].float() for ids in (one, other))
    # What a model raises that does not run is its own affair.
    except Exception as error:
        raise CheckpointError(f"{folder}: the model does not run: {first_line(error)}") from error
    tolerance = _TOLERANCE if model.dtype in {torch.float32, torch.float64} else _HALF_TOLERANCE
    apart = float((first - second).abs().max())
    if apart > tolerance * max(float(first.abs().max()), 1e-3):
        raise CheckpointError(
            f"{folder}: the model sees tokens that come later: only causal attention is taken"
        )


def _logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    inputs = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    logits: torch.Tensor = model(
        input_ids=ids[:, : _TOKENS // 2] if inputs else ids, **inputs
    ).logits
    return logits
