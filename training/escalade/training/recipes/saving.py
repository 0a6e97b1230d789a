"""Saves a model, and reads it back to see that it is the one that was trained; knows no recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from escalade.checkpoint import CheckpointError, load_network
from escalade.training.errors import SavingError
from escalade.training.teachers import model_inputs

Batch = Mapping[str, Tensor]

#: Of log-probabilities, in nats. Merging an update rounds weights to float32, once: what that
#: moves is some thousandth of this; a weight that was lost moves far more.
_TOLERANCE = 1e-2


def logits_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Log-probabilities `(n, V)` of every token after the batch's n tokens that are read.

    The model is asked in eval mode, without dropout, and left as it was.
    """
    training, plain = model.training, _base(model)
    model.train(False)
    inputs = {name: value.to(model.device) for name, value in model_inputs(batch, plain).items()}
    with torch.no_grad():
        logits: Tensor = model(**inputs).logits
    model.train(training)
    if plain.config.is_encoder_decoder:
        return logits.float().log_softmax(dim=-1).cpu()
    return logits[inputs["attention_mask"].bool()].float().log_softmax(dim=-1).cpu()


def same_logits(one: Tensor, other: Tensor) -> bool:
    """Whether two models said the same, but for rounding."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=_TOLERANCE)


def save_checked(
    model: PreTrainedModel, folder: Path, probe: Batch, *, expected: Tensor | None = None
) -> None:
    """Save a model in float32, load the folder, and compare what both say.

    Args:
        model: it becomes float32.
        folder: to write to.
        probe: a batch of examples.
        expected: what the folder must say of it; None: what the model says.

    Raises:
        SavingError: the folder cannot be loaded, or says something else.
    """
    expected = logits_of(model, probe) if expected is None else expected
    # transformers ties the weights again on loading; a float32 copy is what export reads.
    cast(torch.nn.Module, model).float()
    model.save_pretrained(folder)
    try:
        saved = load_network(folder, dtype=torch.float32)
    except CheckpointError as error:
        raise SavingError(f"what was saved cannot be loaded: {error}") from error
    cast(torch.nn.Module, saved).to(model.device)
    found = logits_of(saved, probe)
    if not same_logits(expected, found):
        far = (expected - found).abs().max() if expected.shape == found.shape else torch.inf
        raise SavingError(
            f"a {model.config.model_type} does not come back as it was saved: log-probabilities"
            f" differ by up to {float(far):.3g}"
        )


def _base(model: PreTrainedModel) -> PreTrainedModel:
    """The model beneath its updates, which may stand in a wrapper of peft."""
    if hasattr(model, "get_base_model"):
        return cast(PreTrainedModel, model.get_base_model())  # type: ignore[operator]
    return model
