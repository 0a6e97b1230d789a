"""One run of the study: an arm and a seed, from the base model to its traces; no statistics."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.study.arms import Arm, Data, Settings
from benchmarks.study.data import MAX_TOKENS, queries, tokenizer_of, training_examples
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments

from escalade.edge.base import Record, atomic_folder, atomic_write
from escalade.edge.trace import MemberInfo, write_trace
from escalade.training.examples import Collator, Examples
from escalade.training.losses import IGNORE
from escalade.training.quality import GreedyAnswer
from escalade.training.recipes import (
    fingerprint_of,
    last_checkpoint,
    load_teacher,
    open_checkpoint,
    resume_training,
)
from escalade.training.teachers import CachedTeacher, write_cache
from escalade.training.trace import Answered, answer_all, member_info, trace_of
from escalade.training.trainer import CatTrainer

SPLITS = ("valid", "test")


def cache_path(settings: Settings, data: Data) -> Path:
    """Where p_L's predictions on an arm's training data lie."""
    return settings.out / f"predictions-{data}.safetensors"


def large_path(settings: Settings, split: str) -> Path:
    """Where p_L's answers to a split lie."""
    return settings.out / f"large-{split}.json"


def write_predictions(settings: Settings, data: Data) -> None:
    """Ask the large model about every training token, once."""
    path = cache_path(settings, data)
    if path.exists():
        return
    tokenizer = tokenizer_of(settings.base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    write_cache(
        path,
        load_teacher(str(settings.large), tokenizer),
        training_examples(settings, data),
        tokenizer=fingerprint_of(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        top_k=settings.top_k,
        device=device,
    )


def write_large_answers(settings: Settings, split: str) -> None:
    """Ask the large model every query of a split, once."""
    path = large_path(settings, split)
    if path.exists():
        return
    model, tokenizer = open_checkpoint(str(settings.large))
    answers = answer_all(model, tokenizer, _records(settings, split))
    info = member_info("large", model)
    with atomic_write(path) as stream:
        content = {"name": info.name, "parameters": info.parameters, "answers": answers}
        stream.write(json.dumps(content).encode())


def run(
    settings: Settings,
    arm: Arm,
    seed: int,
    examples: Examples,
    *,
    splits: Sequence[str] = SPLITS,
) -> None:
    """Train and leave the model and a trace of each split; goes on after a cut."""
    folder = settings.folder(arm.name, seed)
    if (folder / "metrics.json").exists():
        return
    started = time.time()
    transformers.set_seed(seed)
    model, tokenizer = open_checkpoint(str(settings.base))
    state = folder.with_name(folder.name + ".run")
    trainer = StudyTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(state),
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=settings.steps // 15,
            weight_decay=0.01,
            train_sampling_strategy="group_by_length",
            eval_strategy="steps",
            eval_steps=max(settings.steps // 10, 1),
            save_steps=500,
            save_total_limit=1,
            logging_steps=50,
            disable_tqdm=True,
            prediction_loss_only=True,
            remove_unused_columns=False,
            report_to="none",
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=examples,
        eval_dataset=Examples(
            queries("valid", settings.valid_queries), tokenizer, max_tokens=MAX_TOKENS
        ),
        data_collator=Collator(tokenizer.pad_token_id),
        loss_name=arm.loss,
        teacher=_teacher(settings, arm, examples),
        w=settings.w,
    )
    trainer.shuffled = arm.shuffled
    trainer.remove_callback(PrinterCallback)
    resume_training(trainer, last_checkpoint(state))
    trained_s = time.time() - started
    model.train(False)
    with atomic_folder(folder, marker="metrics.json") as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        quality = {split: _leave_trace(settings, arm, model, split, aside) for split in splits}
        metrics: dict[str, Any] = {
            "arm": arm._asdict(),
            "seed": seed,
            "exact_match": quality,
            "train_s": round(trained_s, 1),
            "log": trainer.state.log_history,
        }
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    shutil.rmtree(state, ignore_errors=True)


class StudyTrainer(CatTrainer):
    """A CatTrainer that can filter as many tokens as the loss would, chosen at random."""

    shuffled = False

    def keep(self, logits: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """The filter of equation 8, shuffled over the batch's target tokens."""
        if not self.shuffled or self._teacher is None:
            return None
        counts = targets != IGNORE
        large = self._teacher.predict(inputs).argmax
        kept = ((logits.detach().argmax(dim=-1) == targets) | (large == targets))[counts]
        keep = torch.zeros_like(counts)
        keep[counts] = kept[torch.randperm(len(kept), device="cpu").to(kept.device)]
        return keep


def _teacher(settings: Settings, arm: Arm, examples: Examples) -> CachedTeacher | None:
    if arm.loss == "xent":
        return None
    tokenizer = fingerprint_of(tokenizer_of(settings.base))
    return CachedTeacher(cache_path(settings, arm.data), examples, tokenizer=tokenizer)


def _leave_trace(
    settings: Settings, arm: Arm, model: PreTrainedModel, split: str, folder: Path
) -> float:
    """Write the trace of the model beside the large one; gives the model's exact match."""
    records = _records(settings, split)
    said = json.loads(large_path(settings, split).read_bytes())
    large = Answered(
        MemberInfo(name=said["name"], parameters=said["parameters"]),
        [GreedyAnswer(*answer) for answer in said["answers"]],
    )
    answers = answer_all(model, tokenizer_of(settings.base), records)
    small = Answered(member_info(arm.name, model), answers)
    trace = trace_of(records, [small, large], threshold=0.0)
    write_trace(folder / f"{split}.jsonl", trace.header, trace.records)
    right = [
        answer.text in record.references for record, answer in zip(records, answers, strict=True)
    ]
    return sum(right) / len(right)


def _records(settings: Settings, split: str) -> list[Record]:
    if split == "valid":
        return queries("valid", settings.valid_queries)
    return queries("test", settings.test_queries)
