"""Trains what a recipe says, to a saved checkpoint; the one place where training's parts meet.

The output folder holds the model (safetensors), its tokenizer, `recipe.toml`, `log.jsonl`
(one line for each logged step), `metrics.json` (exact match on the validation split), and some of
the prompts that it was trained on.
While a run is under way its state lives in `OUT.run/`; a run that was cut off goes on
from the last whole checkpoint there, and the folder goes away when the run is done.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from escalade.checkpoint import no_bars
from escalade.edge.base import (
    atomic_folder,
    atomic_write,
    pretty_json,
    subsample,
)
from escalade.training.errors import RecipeError
from escalade.training.examples import Collator, Example, Examples, check_labels
from escalade.training.quality import exact_match
from escalade.training.recipes.adapters import merged, with_lora
from escalade.training.recipes.arguments import training_arguments
from escalade.training.recipes.inputs import (
    Inputs,
    check_inputs,
    check_same_recipe,
    inputs_of,
    teachers_of,
    write_inputs,
)
from escalade.training.recipes.loading import (
    load_model,
    load_records,
    load_tokenizer,
    refused_by_export,
)
from escalade.training.recipes.prompts import write_prompts
from escalade.training.recipes.recipe import Recipe, naming_recipe, read_recipe
from escalade.training.recipes.resume import (
    Sealing,
    forget_checkpoints,
    last_checkpoint,
    resume_training,
)
from escalade.training.recipes.saving import save_checked
from escalade.training.recipes.teaching import Progress, open_teacher
from escalade.training.teachers import vocabulary_size
from escalade.training.trace import answer_all
from escalade.training.trainer import CatTrainer

RECIPE_NAME, METRICS_NAME = "recipe.toml", "metrics.json"
# Of the line that transformers logs when training ends, with the mean loss since it went on.
_SESSION = "train_runtime"
#: Examples by which a saved model is compared with the trained one, the shortest of the first.
_PROBED, _PROBED_OF = 4, 64


@no_bars()
def train_recipe(
    recipe_path: Path,
    text: str,
    home: Path,
    recipe: Recipe,
    state: Path,
    out: Path,
    progress: Progress | None,
    callbacks: Sequence[TrainerCallback],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """As `run_recipe`, as the only one who has the state of the run."""
    started = time.time()
    with naming_recipe(recipe_path):
        checkpoint = _resume_point(recipe, state, home, say)
        arguments = training_arguments(recipe, state, bar=progress is None)
        transformers.set_seed(recipe.seed)
        tokenizer = load_tokenizer(recipe)
        train, valid = load_records(recipe)
        model = load_model(recipe, tokenizer)
        if arguments.should_save and (refusal := refused_by_export(model)):
            say(f"`escalade export` to ONNX will refuse this model: {refusal}")
        seq2seq = bool(model.config.is_encoder_decoder)
        max_tokens = _window(recipe, model)
        examples = partial(Examples, tokenizer=tokenizer, max_tokens=max_tokens, seq2seq=seq2seq)
        train_examples = examples(train)
        # All of them, though only some are watched: all are answered at the end, hours from now.
        examples(valid)
        watched = subsample(valid, recipe.data.valid_size)
        # What may be refused in seconds is, before the teacher is asked for hours.
        check_labels(train_examples, vocabulary_size(model))
        collate = Collator(tokenizer.pad_token_id)
        probe = collate(_short(train_examples))
        if recipe.lora is not None:
            model = with_lora(model, recipe.lora, probe)
        inputs = inputs_of(recipe, tokenizer, train, valid, train_examples)
        if checkpoint is not None:
            check_inputs(state, {**inputs, **teachers_of(recipe)})
        teacher = open_teacher(
            recipe, tokenizer, train_examples, arguments, seq2seq, progress=progress
        )
        inputs |= teachers_of(recipe)
        if checkpoint is not None:  # with a cache that was written just now
            check_inputs(state, inputs)
    if arguments.should_save:
        _keep_beginning(state, text, inputs if checkpoint is None else None)
    trainer = CatTrainer(
        model=model,
        args=arguments,
        train_dataset=train_examples,
        eval_dataset=examples(watched),
        data_collator=collate,
        callbacks=[Sealing(), *callbacks, *([] if progress is None else [_Reporter(progress)])],
        loss_name=recipe.loss,
        teacher=teacher,
        alpha=recipe.alpha,
        w=recipe.teachers[-1].w if recipe.teachers else 1.0,
    )
    trainer.remove_callback(PrinterCallback)
    resume_training(trainer, checkpoint)
    trained = merged(trainer)
    metrics: dict[str, Any] = {}
    if trainer.is_world_process_zero():
        trained.train(False)
        answers = answer_all(
            trained,
            tokenizer,
            valid,
            progress=lambda done: progress("validate", done, len(valid), {}) if progress else None,
        )
        match = exact_match(valid, [answer.text for answer in answers])
        metrics = {
            "recipe": recipe.name,
            "loss": recipe.loss,
            "seed": recipe.seed,
            "parameters": sum(p.numel() for p in trained.parameters()),
            "inputs": inputs,
            "valid_queries": len(valid),
            "valid_exact_match": {k: round(v, 5) for k, v in match.items()},
            "steps": trainer.state.global_step,
            "seconds_this_session": round(time.time() - started, 1),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads,"
            f" {trained.device.type} x {arguments.world_size}",
        }
        with atomic_folder(out, marker=METRICS_NAME) as folder:
            save_checked(trained, folder, probe)
            tokenizer.save_pretrained(folder)
            metrics["kept_prompts"] = write_prompts(
                folder, train, recipe.run.keep_prompts, recipe.seed
            )
            _write_beside(folder, state, metrics, trainer.state.log_history)
        forget_checkpoints(state)
        shutil.rmtree(state)
    trainer.accelerator.wait_for_everyone()
    return metrics


def _keep_beginning(state: Path, recipe: str, inputs: Inputs | None) -> None:
    """Write down what a run is made of beside its checkpoints; `inputs` where it begins."""
    state.mkdir(parents=True, exist_ok=True)
    with atomic_write(state / RECIPE_NAME) as stream:
        stream.write(recipe.encode())
    if inputs is not None:
        write_inputs(state, inputs)


def _write_beside(
    folder: Path, state: Path, metrics: Mapping[str, Any], log: Sequence[Mapping[str, float]]
) -> None:
    """Write recipe, metrics and log beside a saved model.

    Of the log what a run says that was not cut off: transformers' closing line is of a session.
    """
    shutil.copy(state / RECIPE_NAME, folder / RECIPE_NAME)
    (folder / METRICS_NAME).write_bytes(pretty_json(metrics))
    (folder / "log.jsonl").write_text(
        "".join(json.dumps(entry) + "\n" for entry in log if _SESSION not in entry)
    )


class _Reporter(TrainerCallback):
    """Passes each step, and the numbers logged at it, to a `Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            self._progress("train", state.global_step, state.max_steps, {})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        if state.is_world_process_zero:
            self._progress("train", state.global_step, state.max_steps, dict(logs or {}))


def _resume_point(
    recipe: Recipe, state: Path, folder: Path, say: Callable[[str], None]
) -> Path | None:
    """The checkpoint to go on from; paths in the recipe are relative to `folder`.

    Raises:
        RecipeError: it is another recipe's, or does not say whose.
    """
    checkpoint, kept = last_checkpoint(state, say), state / RECIPE_NAME
    if checkpoint is None:
        return None
    try:
        begun = read_recipe(kept, folder=folder)
    except RecipeError as error:
        raise RecipeError(f"{error}; {state} is damaged: delete it to begin again") from error
    check_same_recipe(state, begun, recipe)
    return checkpoint


def _short(examples: Examples) -> list[Example]:
    first = [examples[index] for index in range(min(_PROBED_OF, len(examples)))]
    return sorted(first, key=lambda one: len(one["input_ids"]))[:_PROBED]


def _window(recipe: Recipe, model: PreTrainedModel) -> int:
    """The longest example, which must fit into the model's window."""
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if window is not None and recipe.data.max_tokens > window:
        raise RecipeError(
            f"data.max_tokens must be at most the model's window, {window};"
            f" got {recipe.data.max_tokens}"
        )
    return recipe.data.max_tokens
