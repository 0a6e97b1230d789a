"""Runs a recipe from data to a saved checkpoint; the one place where training's parts meet.

The output folder holds the model (safetensors), its tokenizer, `recipe.toml`, `log.jsonl`
(one line for each logged step) and `metrics.json` (exact match on the validation split).
While a run is under way its state lives in `OUT.run/`; a run that was cut off goes on
from the last checkpoint there, and the folder goes away when the run is done.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from escalade.edge.files import folder_aside
from escalade.edge.records import Record, read_records
from escalade.training.errors import RecipeError, TeacherError
from escalade.training.examples import Collator, Examples
from escalade.training.quality import exact_match, greedy_answers
from escalade.training.recipe import Recipe, read_recipe, resolve
from escalade.training.tasks import load_pronunciations, make_records
from escalade.training.tokenizer import save_tokenizer
from escalade.training.trainer import CatTrainer


def run_recipe(recipe_path: Path, out: Path) -> dict[str, Any]:
    """Train what a recipe says; returns the metrics that were written.

    Raises:
        RecipeError: the recipe, or a path in it, is wrong.
        TeacherError: the teacher does not fit the student.
        DataError: the data cannot be read.
    """
    recipe = read_recipe(recipe_path)
    started = time.time()
    state = out.with_name(out.name + ".run")
    state.mkdir(parents=True, exist_ok=True)
    transformers.set_seed(recipe.seed)
    tokenizer = _tokenizer(recipe, recipe_path, state)
    train, valid = _records(recipe, recipe_path)
    model = _model(recipe, recipe_path, tokenizer)
    teacher = _teacher(recipe, recipe_path, tokenizer)
    trainer = CatTrainer(
        model=model,
        args=_arguments(recipe, state),
        train_dataset=Examples(train, tokenizer, max_tokens=recipe.data.max_tokens),
        eval_dataset=Examples(
            valid[: recipe.data.valid_size], tokenizer, max_tokens=recipe.data.max_tokens
        ),
        data_collator=Collator(tokenizer.pad_token_id),
        loss_name=recipe.loss,
        teacher=teacher,
        w=recipe.teacher.w if recipe.teacher else 1.0,
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(state)))
    model.eval()
    answers = greedy_answers(
        model, tokenizer, [r.prompt for r in valid], max_new_tokens=recipe.data.max_tokens // 2
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
    with folder_aside(out) as folder:
        # transformers ties the weights again on loading; a float32 copy is what export reads.
        model.to(torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        shutil.copy(recipe_path, folder / "recipe.toml")
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        lines = (json.dumps(entry) + "\n" for entry in trainer.state.log_history)
        (folder / "log.jsonl").write_text("".join(lines))
    shutil.rmtree(state)
    return metrics


def _tokenizer(recipe: Recipe, recipe_path: Path, state: Path) -> PreTrainedTokenizerBase:
    source = recipe.tokenizer or recipe.model.path
    if source is None:
        raise RecipeError(f"{recipe_path}: tokenizer is missing: a folder, or 'bundled'")
    if source == "bundled":
        save_tokenizer(state / "tokenizer")
        folder = str(state / "tokenizer")
    else:
        folder = resolve(recipe_path, source)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise RecipeError(f"{recipe_path}: the tokenizer {source!r} has no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _records(recipe: Recipe, recipe_path: Path) -> tuple[list[Record], list[Record]]:
    if recipe.data.source == "bundled":
        pronunciations = load_pronunciations()
        return (
            list(make_records("train", pronunciations)),
            list(make_records("valid", pronunciations)),
        )
    folder = Path(resolve(recipe_path, recipe.data.source))
    return read_records(folder / "train.jsonl"), read_records(folder / "valid.jsonl")


def _model(
    recipe: Recipe, recipe_path: Path, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    if recipe.model.path is not None:
        return _load(resolve(recipe_path, recipe.model.path))
    assert recipe.model.config is not None  # noqa: S101 - read_recipe has checked it
    try:
        config = AutoConfig.for_model(
            **recipe.model.config,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
        )
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except (KeyError, ValueError, TypeError) as error:
        raise RecipeError(f"{recipe_path}: model.config: {error}") from error
    return model


def _teacher(
    recipe: Recipe, recipe_path: Path, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel | None:
    if recipe.teacher is None:
        return None
    folder = resolve(recipe_path, recipe.teacher.path)
    teacher = _load(folder)
    if AutoTokenizer.from_pretrained(folder).get_vocab() != tokenizer.get_vocab():
        raise TeacherError(f"teacher {recipe.teacher.path!r}: its tokenizer is not the student's")
    return teacher


def _load(path: str) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True)
    except (OSError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise RecipeError(f"model {path!r} cannot be loaded: {first_line}") from error
    return model


def _arguments(recipe: Recipe, state: Path) -> TrainingArguments:
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
