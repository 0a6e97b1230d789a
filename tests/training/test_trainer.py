"""CatTrainer as users of transformers know a Trainer: data sets, mixed precision, bad numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import datasets
import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from escalade.training.errors import LossError
from escalade.training.examples import Collator, Example
from escalade.training.losses.losses import IGNORE, token_loss
from escalade.training.teachers.cache_writer import write_cache
from escalade.training.teachers.prediction_cache import CachedTeacher
from escalade.training.teachers.teacher import LocalTeacher, targets_of
from escalade.training.trainer import CatTrainer

V = 40


def model(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=V, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, initializer_range=0.5,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[Example]:
    """Short sequences the first three tokens of which are prompt."""
    ids = torch.randint(V, (24, 9), generator=torch.Generator().manual_seed(0)).tolist()
    return [
        Example(input_ids=row, labels=[IGNORE] * 3 + row[3:], example_index=index)
        for index, row in enumerate(ids)
    ]


def arguments(folder: Path, **more: object) -> TrainingArguments:
    options: dict[str, object] = {
        "max_steps": 3, "per_device_train_batch_size": 8, "logging_steps": 1,
        "learning_rate": 1e-2, "disable_tqdm": True, "use_cpu": True, "report_to": "none",
        "save_strategy": "no", "dataloader_pin_memory": False, **more,
    }  # fmt: skip
    return TrainingArguments(output_dir=str(folder), **options)


def losses_of(trainer: CatTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_a_hugging_face_data_set_trains_as_a_list_does(rows: list[Example], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    write_cache(cache, LocalTeacher(model(2)), rows, tokenizer="t", pad_token_id=0, top_k=4)
    curves = []
    for data in (rows, datasets.Dataset.from_list(rows)):
        trainer = CatTrainer(
            model=model(1), args=arguments(tmp_path), train_dataset=data,
            data_collator=Collator(0), loss_name="cat-dist",
            teacher=CachedTeacher(cache, rows, tokenizer="t"),
        )  # fmt: skip
        trainer.train()
        curves.append(losses_of(trainer))
    assert curves[0] == curves[1]
    assert len(curves[0]) == 3


class Watching(CatTrainer):
    """Writes down in which type the loss sees the logits."""

    seen: list[torch.dtype]

    def keep(self, logits: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]) -> None:
        self.seen.append(logits.dtype)


def test_under_bf16_the_loss_sees_bf16_logits(rows: list[Example], tmp_path: Path) -> None:
    """accelerate would hold them a second time, in float32."""
    curves = {}
    for bf16 in (True, False):
        trainer = Watching(
            model=model(1), args=arguments(tmp_path, bf16=bf16), train_dataset=rows,
            data_collator=Collator(0),
        )  # fmt: skip
        trainer.seen = []
        trainer.train()
        assert set(trainer.seen) == {torch.bfloat16 if bf16 else torch.float32}
        curves[bf16] = losses_of(trainer)
    assert curves[True] == pytest.approx(curves[False], rel=0.02)


def test_logits_that_are_no_numbers_stop_the_run(rows: list[Example], tmp_path: Path) -> None:
    broken = model(1)
    with torch.no_grad():
        broken.lm_head.weight[0, 0] = float("nan")
    trainer = CatTrainer(
        model=broken, args=arguments(tmp_path), train_dataset=rows, data_collator=Collator(0)
    )
    with pytest.raises(LossError, match="loss is not finite at 48 of 48 target tokens"):
        trainer.train()


def test_a_batch_with_nothing_left_after_filtering_moves_no_weight(
    rows: list[Example], tmp_path: Path
) -> None:
    student, never_right = model(1), [dict(row) for row in rows]
    with torch.no_grad():
        student.lm_head.weight.zero_()  # all logits tie, so that token 0 is the argmax
    for row in never_right:
        row["labels"] = [IGNORE] * 3 + [1 + label % (V - 1) for label in row["labels"][3:]]
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    trainer = CatTrainer(
        model=student, args=arguments(tmp_path, weight_decay=0.0), train_dataset=never_right,
        data_collator=Collator(0), loss_name="cat-xent-s",
    )  # fmt: skip
    trainer.train()
    assert losses_of(trainer) == [0.0, 0.0, 0.0]
    assert [e["tokens_filtered"] for e in trainer.state.log_history if "loss" in e] == [1.0] * 3
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.fixture(scope="module")
def ragged() -> list[Example]:
    """Sequences of 4 to 40 tokens, two thirds of them prompt in some and none of them in others."""
    generator = torch.Generator().manual_seed(5)
    rows = []
    for index in range(23):
        ids = torch.randint(V, (4 + 36 * (index % 5) // 4,), generator=generator).tolist()
        prompt = len(ids) * (index % 3) // 3
        labels = [IGNORE] * prompt + ids[prompt:]
        rows.append(Example(input_ids=ids, labels=labels, example_index=index))
    return rows


def mean_over_tokens(student: LlamaForCausalLM, rows: list[Example]) -> float:
    """Cross-entropy (equation 2), one example at a time: no batch, no padding."""
    nats, tokens = 0.0, 0
    for row in rows:
        with torch.no_grad():
            logits = student(torch.tensor([row["input_ids"]])).logits
        said = token_loss("xent", logits, targets_of(torch.tensor([row["labels"]]), seq2seq=False))
        nats, tokens = nats + said.total.item(), tokens + int(said.counts.sum())
    return nats / tokens


@pytest.mark.parametrize("batch_size", [1, 4, 7, 64])
def test_a_held_out_loss_is_the_mean_over_tokens_however_they_are_batched(
    batch_size: int, ragged: list[Example], tmp_path: Path
) -> None:
    student = model(1)
    trainer = CatTrainer(
        model=student, data_collator=Collator(0), eval_dataset={"a": ragged, "b": ragged[:3]},
        args=arguments(
            tmp_path, per_device_eval_batch_size=batch_size, gradient_accumulation_steps=3,
            train_sampling_strategy="group_by_length", prediction_loss_only=True,
        ),
    )  # fmt: skip
    right = mean_over_tokens(student.eval(), ragged)
    metrics = trainer.evaluate()
    assert metrics["eval_a_loss"] == pytest.approx(right, rel=1e-5)
    assert metrics["eval_b_loss"] == pytest.approx(mean_over_tokens(student, ragged[:3]), rel=1e-5)
    metrics = trainer.predict(ragged).metrics or {}
    assert metrics["test_loss"] == pytest.approx(right, rel=1e-5)


def test_the_best_checkpoint_is_the_best_by_tokens(ragged: list[Example], tmp_path: Path) -> None:
    trainer = CatTrainer(
        model=model(1), data_collator=Collator(0), train_dataset=ragged, eval_dataset=ragged,
        args=arguments(
            tmp_path, eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
            load_best_model_at_end=True, per_device_eval_batch_size=3, max_steps=2,
        ),
    )  # fmt: skip
    trainer.train()
    found = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.state.best_metric == min(found)
    saved = LlamaForCausalLM.from_pretrained(trainer.state.best_model_checkpoint)
    assert min(found) == pytest.approx(mean_over_tokens(saved.eval(), ragged), rel=1e-5)


@pytest.mark.parametrize(("batch_size", "parts"), [(6, 1), (3, 2), (1, 6)])
def test_the_logged_loss_is_the_mean_over_the_tokens_since_the_last_log(
    batch_size: int, parts: int, ragged: list[Example], tmp_path: Path
) -> None:
    """One epoch of 23 examples in steps of 6: the last has 5, and steps differ in tokens."""
    still = model(1)
    trainer = CatTrainer(
        model=still, data_collator=Collator(0), train_dataset=ragged,
        args=arguments(
            tmp_path, per_device_train_batch_size=batch_size, gradient_accumulation_steps=parts,
            learning_rate=1e-12, weight_decay=0.0, max_steps=4, logging_steps=4,
        ),
    )  # fmt: skip
    trainer.train()
    assert losses_of(trainer) == [pytest.approx(mean_over_tokens(still.eval(), ragged), rel=1e-5)]


def test_parts_of_unequal_length_make_the_gradient_of_the_whole(
    ragged: list[Example], tmp_path: Path
) -> None:
    norms = []
    for batch_size, parts in ((8, 1), (2, 4), (1, 8)):
        trainer = CatTrainer(
            model=model(1), data_collator=Collator(0), train_dataset=ragged,
            args=arguments(
                tmp_path, per_device_train_batch_size=batch_size, max_steps=3,
                gradient_accumulation_steps=parts, train_sampling_strategy="group_by_length",
            ),
        )  # fmt: skip
        trainer.train()
        norms.append([e["grad_norm"] for e in trainer.state.log_history if "grad_norm" in e])
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    assert norms[2] == pytest.approx(norms[0], rel=1e-4)


def test_what_asks_for_another_loss_is_refused(rows: list[Example], tmp_path: Path) -> None:
    with pytest.raises(LossError, match=r"label_smoothing_factor must be 0, got 0\.1"):
        CatTrainer(
            model=model(1), args=arguments(tmp_path, label_smoothing_factor=0.1),
            train_dataset=rows, data_collator=Collator(0),
        )  # fmt: skip
    with pytest.raises(LossError, match="compute_loss_func cannot be used"):
        CatTrainer(
            model=model(1), args=arguments(tmp_path), train_dataset=rows,
            data_collator=Collator(0), compute_loss_func=lambda *_, **__: None,
        )  # fmt: skip
