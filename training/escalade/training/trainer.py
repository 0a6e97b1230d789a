"""A Hugging Face Trainer that learns with any of the CAT paper's losses; knows no recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MethodType
from typing import Any, cast

import torch
from accelerate.utils.operations import ConvertOutputsToFp32
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices

from escalade.training.errors import TeacherError
from escalade.training.examples import ExampleList, check_labels
from escalade.training.losses import IGNORE, LossName, TokenLoss, needs_teacher, token_loss
from escalade.training.teachers import Teacher, model_inputs, targets_of, vocabulary_size

#: The columns of `TokenLoss.counts`, as they are logged: shares of all target tokens that
#: the small and the large model predict right.
_GROUPS = ("tokens_both", "tokens_small_only", "tokens_large_only", "tokens_none")


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
    """Trainer for `p_S`, with the large model `p_L` asked beside it where the loss needs it.

    Everything else is transformers' Trainer. The model is a causal LM or an
    encoder-decoder; the data set's examples hold `input_ids`, `labels` (`IGNORE` where a
    token does not count) and, for a `CachedTeacher`, `example_index`.

    The loss of a batch is the sum over its target tokens divided by their number, filtered
    ones included, over all accumulation steps and processes (see `losses`). Logged are the
    shares of target tokens that both models predict right, one only, or none, and
    `tokens_filtered`, the share left out of the loss. Evaluation always reports plain
    cross-entropy (equation 2), so that runs with different losses can be compared.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - passed through to transformers.Trainer
        loss_name: LossName = "xent",
        teacher: Teacher | None = None,
        w: float = 0.5,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Check that loss, teacher, model and labels fit together.

        Args:
            *args: transformers.Trainer's.
            loss_name: one of `losses.LOSSES`.
            teacher: the large model, where the loss looks at it.
            w: share of the one-hot term in equations 3, 7, 13 and 14.
            **kwargs: transformers.Trainer's.

        Raises:
            TeacherError: the loss needs a teacher and there is none.
            DataError: a label is outside the vocabulary.
        """
        super().__init__(*args, **kwargs)
        if needs_teacher(loss_name) and teacher is None:
            raise TeacherError(f"loss {loss_name!r} looks at a large model: give a teacher")
        # The sum over a batch is divided by its targets over all accumulation steps and
        # processes, which transformers counts where the model takes such a number.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True
        self._loss_name: LossName = loss_name
        self._teacher, self._w = teacher, w
        student = cast(PreTrainedModel, self.model)
        self._seq2seq = bool(student.config.is_encoder_decoder)
        self._counts: Tensor | None = None
        self._kept: Tensor | None = None
        for dataset in (self.train_dataset, self.eval_dataset):
            if hasattr(dataset, "__len__") and not isinstance(dataset, Mapping):
                check_labels(cast(ExampleList, dataset), vocabulary_size(student))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = cast("list[str]", self._signature_columns)
        if "example_index" not in columns:
            columns.append("example_index")

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int] | None:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        examples = cast(ExampleList, train_dataset or self.train_dataset)
        lengths = [len(examples[i]["input_ids"]) for i in range(len(examples))]
        # One optimizer step's worth, whoever computes which part of it: the same examples
        # meet in a step for any number of processes.
        batch_size = (
            self.args.train_batch_size * self.args.world_size
        ) * self.args.gradient_accumulation_steps
        return LengthGroupedOrder(lengths, batch_size, self.args.seed)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss by target token; see the class."""
        targets = targets_of(inputs["labels"], seq2seq=self._seq2seq)
        student = cast(PreTrainedModel, self.accelerator.unwrap_model(self.model))
        _keep_low_precision(student)
        outputs = model(**model_inputs(inputs, student))
        logits: Tensor = outputs.logits
        if model.training:
            result = self._training_loss(logits, targets, inputs)
        else:
            result = token_loss("xent", logits, targets)
        count = (targets != IGNORE).sum().clamp(min=1)
        loss = result.total / (count if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The processes' gradients are averaged; each must stand for its share of a sum.
            loss = loss * self.accelerator.num_processes
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss

    def _training_loss(
        self, logits: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]
    ) -> TokenLoss:
        asked = self._teacher if needs_teacher(self._loss_name) else None
        result = token_loss(
            self._loss_name,
            logits,
            targets,
            asked.predict(inputs) if asked is not None else None,
            w=self._w,
            keep=self.keep(logits, targets, inputs),
            overwrite=logits.requires_grad,
        )
        kept, counts = torch.as_tensor(result.kept), result.counts
        self._counts = counts if self._counts is None else self._counts + counts
        self._kept = kept if self._kept is None else self._kept + kept
        return result

    def keep(self, logits: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Which tokens count, `(B, T)` bool, in place of the loss's own filter; None: that one.

        For experiments on the filter: a subclass may choose tokens by another criterion.
        """
        return None

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Add the shares of tokens since the last log, then log as usual."""
        if "loss" in logs and self._counts is not None and self._kept is not None:
            here = torch.cat([self._counts, self._kept.reshape(1)]).reshape(1, -1)
            *groups, kept = self.accelerator.gather(here).sum(dim=0).tolist()
            if total := sum(groups):
                if needs_teacher(self._loss_name):
                    shares = (group / total for group in groups)
                    logs.update(zip(_GROUPS, shares, strict=True))
                else:
                    logs["tokens_right"] = (groups[0] + groups[1]) / total
                logs["tokens_filtered"] = 1 - kept / total
            self._counts = self._kept = None
        super().log(logs, *args, **kwargs)


def _keep_low_precision(model: PreTrainedModel) -> None:
    """Take off accelerate's cast of all outputs to float32; the loss casts chunk by chunk.

    Under mixed precision accelerate wraps `forward` twice, in autocast and in that cast; the
    cast alone would hold the logits twice, once in float32.
    """
    cast_outputs = getattr(model.forward, "__wrapped__", None)
    if isinstance(cast_outputs, ConvertOutputsToFp32):
        model.forward = MethodType(cast_outputs.model_forward, model)
