"""Low-rank updates through peft: put on before training, merged after; knows no loss.

A weight that several layers share (the embedding and the head of many small models; an
encoder-decoder's `shared`) has no update of its own in any one of them: merged, the update of
one layer would change all. So an updated layer gets its own copy of such a weight, and that
transformers can save and load the model like this is tried before training.
"""

from __future__ import annotations

import copy
import functools
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel, Trainer

from escalade.training.errors import RecipeError, SavingError
from escalade.training.recipes.recipe import LoraTable
from escalade.training.recipes.saving import Batch, logits_of, same_logits, save_checked


def with_lora(model: PreTrainedModel, table: LoraTable, probe: Batch) -> PreTrainedModel:
    """A model of which only low-rank updates learn (Hu et al. 2021, arXiv 2106.09685).

    Args:
        model: becomes part of what is returned.
        table: which layers are updated, and how.
        probe: a batch of examples.

    Raises:
        RecipeError: the model has none of the layers that `table.targets` names, or shares the
            weight of one with others in a way that it cannot be saved without.
    """
    import peft

    shared = _shared_weights(model)
    config = peft.LoraConfig(
        r=table.r,
        lora_alpha=table.alpha,
        lora_dropout=table.dropout,
        target_modules=table.targets,
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    before = logits_of(model, probe) if shared else None
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name it has since changed.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            # What is done about it stands below.
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
            adapted = cast(PreTrainedModel, peft.get_peft_model(model, config))
    except (ValueError, re.error) as error:
        raise RecipeError(f"lora.targets: {str(error).partition(chr(10))[0]}") from error
    untied = [
        (layer.removeprefix("base_model.model."), others)
        for layer, base in _updated_layers(adapted)
        for others in _untie(base, shared)
    ]
    if untied and before is not None:
        model.config.tie_word_embeddings = False
        model.config.get_text_config().tie_word_embeddings = False
        if not (same_logits(before, logits_of(model, probe)) and _can_be_saved(adapted, probe)):
            layer, others = untied[0]
            raise RecipeError(
                f"lora.targets: {layer!r} shares its weight with {', '.join(others)}, and a"
                f" {model.config.model_type} cannot be saved with that changed in one place;"
                " name layers that share none"
            )
    # A checkpoint needs the updates alone: what is beneath them never changes.
    adapted.save_pretrained = functools.partial(  # type: ignore[method-assign]
        adapted.save_pretrained, save_embedding_layers=False
    )
    return adapted


def merged(trainer: Trainer) -> PreTrainedModel:
    """The trained model with its updates, if it has any, added to its weights."""
    # In float32, as it is saved, whatever it was trained in.
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return cast(PreTrainedModel, model)


def _shared_weights(model: nn.Module) -> dict[int, list[str]]:
    """The layers of each weight that stands in more than one, by the weight's address."""
    layers: dict[int, list[str]] = defaultdict(list)
    for name, weight in model.named_parameters(remove_duplicate=False):
        layers[weight.data_ptr()].append(name.rpartition(".")[0])
    return {address: names for address, names in layers.items() if len(names) > 1}


def _updated_layers(adapted: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Each layer that has an update, and its own weights beneath."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in adapted.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module.get_base_layer()


def _untie(layer: nn.Module, shared: dict[int, list[str]]) -> Iterator[list[str]]:
    """Give a layer its own copy of what it shares; says for each weight who has it too."""
    for name, weight in list(layer.named_parameters(recurse=False)):
        if names := shared.get(weight.data_ptr()):
            own = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
            setattr(layer, name, own)
            yield names


def _can_be_saved(adapted: PreTrainedModel, probe: Batch) -> bool:
    """Whether updates other than 0 come back as they were when the model is saved and loaded."""
    trial = copy.deepcopy(adapted)
    with torch.random.fork_rng(devices=[]):
        for name, weight in trial.named_parameters():
            if "lora_" in name:
                nn.init.normal_(weight, std=0.1)
    expected = logits_of(trial, probe)
    with tempfile.TemporaryDirectory() as folder:
        try:
            whole = cast(PreTrainedModel, trial.merge_and_unload())  # type: ignore[operator]
            save_checked(whole, Path(folder), probe, expected=expected)
        except SavingError:
            return False
    return True
