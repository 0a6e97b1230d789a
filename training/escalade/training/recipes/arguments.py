"""A recipe's optimizer and run tables as transformers' arguments; knows no model and no data."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from escalade.training.errors import RecipeError
from escalade.training.recipes.recipe import Recipe

#: Processes wait for the first one while it asks the teacher or answers the validation split,
#: which may take longer than torch's half hour.
_DDP_TIMEOUT_S = 7 * 24 * 3600


def training_arguments(recipe: Recipe, state: Path, *, bar: bool) -> TrainingArguments:
    """The arguments of a run.

    Args:
        recipe: what to run.
        state: where checkpoints go.
        bar: whether transformers draws its progress bar.

    Raises:
        RecipeError: the batch cannot be shared evenly by processes and accumulation steps,
            there are several GPUs for one process, or `run.report_to` is not there.
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
        ddp_timeout=_DDP_TIMEOUT_S,
    )
    if arguments.n_gpu > 1:
        raise RecipeError(
            f"{arguments.n_gpu} GPUs and one process: start with `accelerate"
            " launch --num_processes N --module escalade.cli train ...`, or set"
            " CUDA_VISIBLE_DEVICES=0"
        )
    try:
        for integration in get_reporting_integration_callbacks(arguments.report_to):
            integration()
    except (ValueError, RuntimeError, ImportError) as error:
        message = str(error).partition("\n")[0]
        raise RecipeError(f"run.report_to {run.report_to!r}: {message}") from error
    parts = arguments.world_size * optim.accumulation_steps
    if optim.batch_size % parts:
        raise RecipeError(
            f"optim.batch_size must divide by {parts} (processes x accumulation"
            f" steps), got {optim.batch_size}"
        )
    arguments.per_device_train_batch_size = optim.batch_size // parts
    arguments.per_device_eval_batch_size = optim.batch_size // parts
    return arguments
