"""Runs a recipe from data to a saved checkpoint; the one place where training's parts meet.

The output folder holds the model (safetensors), its tokenizer, `recipe.toml`, `log.jsonl`
(one line for each logged step) and `metrics.json` (exact match on the validation split).
While a run is under way its state lives in `OUT.run/`; a run that was cut off goes on
from the last whole checkpoint there, and the folder goes away when the run is done.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
import transformers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from escalade.edge.files import check_replaceable, folder_aside
from escalade.edge.records import Record, spread
from escalade.training.errors import RecipeError
from escalade.training.examples import Collator, Examples
from escalade.training.loading import load_model, load_records, load_teacher, load_tokenizer
from escalade.training.quality import exact_match, greedy_answers
from escalade.training.recipe import Recipe, RunTable, read_recipe
from escalade.training.trainer import CatTrainer

RECIPE_NAME, METRICS_NAME = "recipe.toml", "metrics.json"

#: Called with a stage ("train", "validate"), how much of it is done, how much there is,
#: and the numbers logged since the last call (loss, learnable_share, ...).
Progress = Callable[[str, int, int, Mapping[str, float]], None]


def run_recipe(
    recipe_path: Path,
    out: Path,
    *,
    progress: Progress | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Train what a recipe says; returns the metrics that were written.

    Args:
        recipe_path: a TOML file, see `recipe.py`.
        out: the checkpoint folder; replaced whole when the run is done.
        progress: told how far the run is; without it transformers draws its own bar.
        callbacks: transformers callbacks, called from within the training loop.

    Raises:
        RecipeError: the recipe, or a path in it, is wrong.
        TeacherError: the teacher does not fit the student.
        DataError: the data cannot be read.
    """
    recipe = read_recipe(recipe_path)
    check_replaceable(out, METRICS_NAME)
    started = time.time()
    state = out.with_name(out.name + ".run")
    checkpoint = _resume_point(recipe, recipe_path, state)
    transformers.set_seed(recipe.seed)
    tokenizer = load_tokenizer(recipe, recipe_path)
    train, valid = load_records(recipe, recipe_path)
    model = load_model(recipe, recipe_path, tokenizer)
    teacher = load_teacher(recipe, recipe_path, tokenizer)
    max_tokens = _window(recipe, recipe_path, model)
    train_examples = Examples(train, tokenizer, max_tokens=max_tokens)
    # All of them, though only some are watched: all are answered at the end, hours from now.
    Examples(valid, tokenizer, max_tokens=max_tokens)
    watched = spread(valid, recipe.data.valid_size)
    state.mkdir(parents=True, exist_ok=True)
    shutil.copy(recipe_path, state / RECIPE_NAME)
    trainer = CatTrainer(
        model=model,
        args=_arguments(recipe, state, bar=progress is None),
        train_dataset=train_examples,
        eval_dataset=Examples(watched, tokenizer, max_tokens=max_tokens),
        data_collator=Collator(tokenizer.pad_token_id),
        callbacks=[*callbacks, *([] if progress is None else [_Reporter(progress)])],
        loss_name=recipe.loss,
        teacher=teacher,
        w=recipe.teacher.w if recipe.teacher else 1.0,
    )
    trainer.remove_callback(PrinterCallback)
    _train(trainer, checkpoint)
    model.train(False)
    answers = greedy_answers(
        model,
        tokenizer,
        [record.prompt for record in valid],
        max_new_tokens=_longest_answer(valid, tokenizer),
        progress=lambda done: progress("validate", done, len(valid), {}) if progress else None,
    )
    metrics = {
        "recipe": recipe.name,
        "loss": recipe.loss,
        "seed": recipe.seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "valid_queries": len(valid),
        "valid_exact_match": {k: round(v, 5) for k, v in exact_match(valid, answers).items()},
        "steps": trainer.state.global_step,
        "seconds_this_session": round(time.time() - started, 1),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {model.device.type}",
    }
    with folder_aside(out, marker=METRICS_NAME) as folder:
        # transformers ties the weights again on loading; a float32 copy is what export reads.
        model.float().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        shutil.copy(state / RECIPE_NAME, folder / RECIPE_NAME)
        (folder / METRICS_NAME).write_text(json.dumps(metrics, indent=2) + "\n")
        lines = (json.dumps(entry) + "\n" for entry in trainer.state.log_history)
        (folder / "log.jsonl").write_text("".join(lines))
    shutil.rmtree(state)
    return metrics


class _Reporter(TrainerCallback):
    """Passes each step, and the numbers logged at it, to a `Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._progress("train", state.global_step, state.max_steps, {})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        self._progress("train", state.global_step, state.max_steps, dict(logs or {}))


def _resume_point(recipe: Recipe, recipe_path: Path, state: Path) -> Path | None:
    """The checkpoint to go on from.

    Raises:
        RecipeError: it is another recipe's.
    """
    checkpoint, kept = _last_checkpoint(state), state / RECIPE_NAME
    if checkpoint is None:
        return None
    started, now = (msgspec.structs.replace(r, run=RunTable()) for r in (read_recipe(kept), recipe))
    if started != now:
        raise RecipeError(
            f"{recipe_path}: {state} holds the unfinished run of another recipe;"
            " go on with that one, or delete the folder"
        )
    return checkpoint


def _window(recipe: Recipe, recipe_path: Path, model: PreTrainedModel) -> int:
    """The longest example, which must fit into the model's window."""
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if window is not None and recipe.data.max_tokens > window:
        raise RecipeError(
            f"{recipe_path}: data.max_tokens must be at most the model's window, {window};"
            f" got {recipe.data.max_tokens}"
        )
    return recipe.data.max_tokens


def _last_checkpoint(state: Path) -> Path | None:
    """The newest checkpoint that was written to its end (trainer_state.json comes last)."""
    whole = [f.parent for f in state.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}")]
    return max(whole, key=_step_of, default=None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _train(trainer: CatTrainer, checkpoint: Path | None) -> None:
    if checkpoint is None:
        trainer.train()
    elif _step_of(checkpoint) < trainer.args.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:  # cut off after its last step; transformers would take one more
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))


def _longest_answer(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the longest reference and the end of sequence."""
    texts = [text for record in records for text in record.references]
    return 1 + max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))


def _arguments(recipe: Recipe, state: Path, *, bar: bool) -> TrainingArguments:
    optim, run = recipe.optim, recipe.run
    return TrainingArguments(
        output_dir=str(state),
        max_steps=optim.steps,
        per_device_train_batch_size=optim.batch_size,
        per_device_eval_batch_size=optim.batch_size,
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
        report_to="none",
        seed=recipe.seed,
        bf16=run.bf16,
        use_cpu=not torch.cuda.is_available(),  # else bf16 on a CPU is refused
        torch_compile=run.compile,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
