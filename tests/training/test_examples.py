"""Examples, batches and the trainer's batch loss: what counts, and how it is averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    TrainingArguments,
)

from escalade.edge.base.records import Record
from escalade.edge.errors import DataError
from escalade.training.data.tokenizer import save_tokenizer
from escalade.training.errors import TeacherError
from escalade.training.examples import Collator, Examples
from escalade.training.losses.filters import LossName
from escalade.training.losses.losses import IGNORE
from escalade.training.teachers.teacher import LocalTeacher
from escalade.training.trainer import CatTrainer, LengthGroupedOrder

RECORDS = [
    Record(id="1", task="g2p", prompt="g2p: to", references=["T UW", "T AH"]),
    Record(id="2", task="stress", prompt="stress: cascade", references=["2"]),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return loaded


def tiny_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.5,  # far from uniform, so that the two models disagree
        )
    )


def batch_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    examples = Examples(RECORDS, tokenizer, max_tokens=32)
    return Collator(tokenizer.pad_token_id)([examples[i] for i in range(len(examples))])


def test_each_reference_is_an_example_and_the_prompt_never_counts(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    examples = Examples(RECORDS, tokenizer, max_tokens=32)
    assert len(examples) == 3
    tokens = tokenizer.convert_ids_to_tokens(examples[0]["input_ids"])
    assert tokens == ["g2p:", "t", "o", "<sep>", "T", "UW", "<eos>"]
    assert examples[0]["labels"] == [IGNORE] * 4 + examples[0]["input_ids"][4:]


def test_a_batch_is_padded_on_the_right_to_a_multiple_of_8(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    batch = batch_of(tokenizer)
    assert batch["input_ids"].shape == batch["labels"].shape == (3, 16)  # the longest has 11
    assert batch["attention_mask"].sum(dim=1).tolist() == [7, 7, 11]
    padded = batch["attention_mask"] == 0
    assert (batch["input_ids"][padded] == tokenizer.pad_token_id).all()
    assert (batch["labels"][padded] == IGNORE).all()


@pytest.mark.parametrize("loss_name", ["xent", "dist", "cat-xent", "cat-dist"])
@pytest.mark.parametrize("items", [None, 40])
def test_a_batchs_loss_is_its_sum_by_target_token_filtered_ones_included(
    loss_name: LossName, items: int | None, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    small, large = tiny_model(tokenizer, 1), tiny_model(tokenizer, 2).eval()
    trainer = CatTrainer(
        model=small,
        args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none"),
        loss_name=loss_name,
        teacher=LocalTeacher(large),
        w=0.25,
    )
    batch = batch_of(tokenizer)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    # Untrained models are never right: let each be so once, so that the filter keeps some.
    batch["labels"][0, 4] = small(**inputs).logits[0, 3].argmax()
    batch["labels"][1, 5] = large(**inputs).logits[1, 4].argmax()
    got = trainer.compute_loss(small.train(), batch, num_items_in_batch=items)

    logits, teacher = small(**inputs).logits[:, :-1], large(**inputs).logits[:, :-1]
    labels = batch["labels"][:, 1:].clone()
    count = labels != IGNORE
    logp, target = logits.log_softmax(-1), labels.clamp(min=0)
    nll = -logp.gather(-1, target[..., None])[..., 0]
    soft = -(teacher.softmax(-1) * logp).sum(-1)
    summand = nll if loss_name.endswith("xent") else 0.25 * nll + 0.75 * soft
    if loss_name.startswith("cat"):
        count = count & ((logits.argmax(-1) == labels) | (teacher.argmax(-1) == labels))
        assert 0 < int(count.sum()) < 8  # else the test says nothing of the filter
    targets = 3 + 3 + 2  # two phonemes or one digit, and the end
    assert isinstance(got, Tensor)
    torch.testing.assert_close(got, (summand * count).sum() / (items or targets))
    assert "labels" in batch  # the caller's batch is left alone
    assert not any(p.requires_grad for p in large.parameters())


def test_a_trainer_without_the_teacher_its_loss_needs_is_refused(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(TeacherError, match="loss 'cat-dist' looks at a large model"):
        CatTrainer(model=tiny_model(tokenizer, 1), args=arguments, loss_name="cat-dist")


def test_a_label_outside_the_vocabulary_is_refused_before_the_first_step(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    bad = [{"input_ids": [1, 2], "labels": [IGNORE, len(tokenizer)], "example_index": 0}]
    with pytest.raises(DataError, match=rf"labels must be in \[0, {len(tokenizer) - 1}\]"):
        CatTrainer(model=tiny_model(tokenizer, 1), args=arguments, train_dataset=bad)


def test_an_epochs_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = [n % 7 + 1 for n in range(100)]

    def order(seed: int, epoch: int) -> list[int]:
        sampler = LengthGroupedOrder(lengths, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(1, 0)) == list(range(100))
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_batches_hold_examples_of_like_length() -> None:
    lengths = [n % 50 for n in range(400)]
    order = list(LengthGroupedOrder(lengths, batch_size=4, seed=0))
    spread = [
        max(group) - min(group)
        for start in range(0, 400, 4)
        if (group := [lengths[i] for i in order[start : start + 4]])
    ]
    assert sum(spread) / len(spread) < 10  # 30 where batches are drawn blindly
