"""Low-rank updates through peft: put on before training, merged after; knows no loss."""

from __future__ import annotations

import warnings
from typing import cast

from transformers import PreTrainedModel, Trainer

from escalade.training.errors import RecipeError
from escalade.training.recipes.recipe import LoraTable


def with_lora(model: PreTrainedModel, table: LoraTable) -> PreTrainedModel:
    """A model of which only low-rank updates learn (Hu et al. 2021, arXiv 2106.09685).

    Raises:
        RecipeError: the model has none of the layers that `table.targets` names.
    """
    import peft

    config = peft.LoraConfig(
        r=table.r,
        lora_alpha=table.alpha,
        lora_dropout=table.dropout,
        target_modules=table.targets,
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name it has since changed.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return cast(PreTrainedModel, peft.get_peft_model(model, config))
    except ValueError as error:
        raise RecipeError(f"lora.targets: {str(error).partition(chr(10))[0]}") from error


def merged(trainer: Trainer) -> PreTrainedModel:
    """The trained model with its updates, if it has any, added to its weights."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return cast(PreTrainedModel, model)
