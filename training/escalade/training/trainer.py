"""A Hugging Face Trainer that learns with any of the CAT paper's losses; knows no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from escalade.training import losses
from escalade.training.errors import TeacherError
from escalade.training.recipe import LossName


class LengthGroupedOrder(Sampler[int]):
    """Batches of like length, in an order that depends on the seed and the epoch alone.

    transformers' own sampler draws from the global generator, so that a run resumed
    after its first epoch would see its examples in another order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = list(lengths), batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order: list[int] = get_length_grouped_indices(
            self._lengths, self._batch_size, generator=generator
        )
        return iter(order)


class CatTrainer(Trainer):
    """Trainer for `p_S`, with the large model `p_L` frozen beside it where the loss looks at it.

    The loss of a batch is the sum over its examples divided by its number of target
    tokens (equation 2 averaged by token), filtered tokens included. The share of
    target tokens that the filter of equation 8 keeps is logged as `learnable_share`.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - passed through to transformers.Trainer
        loss_name: LossName = "xent",
        teacher: PreTrainedModel | None = None,
        w: float = 0.5,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        if loss_name != "xent" and teacher is None:
            raise TeacherError(f"loss {loss_name!r} looks at a large model: give a teacher")
        self.loss_is_scaled_for_ga = True
        self._loss_name, self._w = loss_name, w
        self._teacher = teacher
        self._learnable = self._targets = 0
        if teacher is not None:
            student_v, teacher_v = _vocabulary_size(self._student), _vocabulary_size(teacher)
            if student_v != teacher_v:
                raise TeacherError(
                    f"vocabularies differ: student has {student_v} tokens, teacher {teacher_v}"
                )
            teacher.requires_grad_(False)
            teacher.train(False).to(self.args.device)

    @property
    def _student(self) -> PreTrainedModel:
        return cast(PreTrainedModel, self.model)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        examples = cast(Sequence[Mapping[str, list[int]]], train_dataset or self.train_dataset)
        lengths = [len(example["input_ids"]) for example in examples]
        return LengthGroupedOrder(lengths, self.args.train_batch_size, self.args.seed)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss by target token; see the class."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")[:, 1:]
        outputs = model(**inputs)
        logits = outputs.logits[:, :-1]
        targets = (labels != losses.IGNORE).sum()
        total = self._example_losses(logits, labels, inputs).sum()
        loss = total / (targets if num_items_in_batch is None else num_items_in_batch)
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def _example_losses(
        self, logits: Tensor, labels: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        if self._teacher is None or self._loss_name == "xent":
            return losses.xent(logits, labels)
        with torch.no_grad():
            teacher_logits = self._teacher(**inputs).logits[:, :-1]
        if self._loss_name == "dist":
            return losses.dist(logits, labels, teacher_logits, self._w)
        if self._student.training:
            kept = losses.learnable(logits, labels, teacher_logits.argmax(dim=-1))
            self._learnable += int(kept.sum())
            self._targets += int((labels != losses.IGNORE).sum())
        if self._loss_name == "cat-xent":
            return losses.cat_xent(logits, labels, teacher_logits.argmax(dim=-1))
        return losses.cat_dist(logits, labels, teacher_logits, self._w)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Add the share of learnable tokens since the last log, then log as usual."""
        if self._targets and "loss" in logs:
            logs["learnable_share"] = self._learnable / self._targets
            self._learnable = self._targets = 0
        super().log(logs, *args, **kwargs)


def _vocabulary_size(model: PreTrainedModel) -> int:
    size: int = model.config.get_text_config().vocab_size
    return size
