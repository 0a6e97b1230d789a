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
from escalade.training.losses.losses import IGNORE
from escalade.training.teachers.cache_writer import write_cache
from escalade.training.teachers.prediction_cache import CachedTeacher
from escalade.training.teachers.teacher import LocalTeacher
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
