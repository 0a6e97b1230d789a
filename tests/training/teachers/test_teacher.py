"""Who may teach whom: tokenizers that mean the same by the same ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from escalade.training.data.tokenizer import save_tokenizer
from escalade.training.errors import TeacherError
from escalade.training.losses.losses import IGNORE
from escalade.training.teachers.teacher import check_tokenizers, targets_of


def load(folder: Path) -> PreTrainedTokenizerBase:
    save_tokenizer(folder)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def test_a_teacher_may_know_more_tokens_but_not_fewer(tmp_path: Path) -> None:
    student, teacher = load(tmp_path / "student"), load(tmp_path / "teacher")
    teacher.add_tokens(["<think>"])
    check_tokenizers(student, teacher, "large")
    with pytest.raises(
        TeacherError, match="1 of 85 tokens have another id or none, e.g. '<think>'"
    ):
        check_tokenizers(teacher, student, "large")


def test_targets_line_up_with_the_logits_that_predict_them() -> None:
    labels = torch.tensor([[IGNORE, IGNORE, 5, 6, IGNORE], [IGNORE, 7, 8, 9, 1]])
    assert targets_of(labels, seq2seq=True) is labels
    assert targets_of(labels, seq2seq=False).tolist() == [
        [IGNORE, 5, 6, IGNORE, IGNORE],
        [7, 8, 9, 1, IGNORE],
    ]
