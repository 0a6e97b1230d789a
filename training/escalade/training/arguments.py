"""A recipe's optimizer and run tables as transformers' arguments; knows no model and no data."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import TrainingArguments

from escalade.training.errors import RecipeError
from escalade.training.recipe import Recipe


def training_arguments(
    recipe: Recipe, recipe_path: Path, state: Path, *, bar: bool
) -> TrainingArguments:
    """The arguments of a run.

    Args:
        recipe: what to run.
        recipe_path: for messages.
        state: where checkpoints go.
        bar: whether transformers draws its progress bar.

    Raises:
        RecipeError: the batch cannot be shared evenly by processes and accumulation steps.
    """
    optim, run = recipe.optim, recipe.run
    arguments = TrainingArguments(
        output_dir=str(state),
        max_steps=optim.steps,
        gradient_accumulation_steps=optim.accumulation_steps,
        learning_rate=optim.learning_rate,
        lr_scheduler_type=optim.schedule,
        warmup_steps=optim.warmup_steps,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        train_sampling_strategy="group_by_length",
        disable_tqdm=not bar,
        eval_strategy="steps",
        eval_steps=run.checkpoint_steps,
        save_steps=run.checkpoint_steps,
        save_total_limit=2,
        logging_steps=run.log_steps,
        prediction_loss_only=True,
        remove_unused_columns=False,
        report_to=run.report_to,
        seed=recipe.seed,
        bf16=run.bf16,
        use_cpu=not torch.cuda.is_available(),  # else bf16 on a CPU is refused
        torch_compile=run.compile,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    parts = arguments.world_size * optim.accumulation_steps
    if optim.batch_size % parts:
        raise RecipeError(
            f"{recipe_path}: optim.batch_size must divide by {parts} (processes x accumulation"
            f" steps), got {optim.batch_size}"
        )
    arguments.per_device_train_batch_size = optim.batch_size // parts
    arguments.per_device_eval_batch_size = optim.batch_size // parts
    return arguments
