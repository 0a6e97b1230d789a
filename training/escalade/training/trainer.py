"""A Hugging Face Trainer that learns with any of the CAT paper's losses; knows no recipe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any, cast

import torch
from accelerate.utils.operations import ConvertOutputsToFp32, gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_utils import EvalLoopOutput

from escalade.training.batches import LengthGroupedOrder, rows_of_last_batch
from escalade.training.errors import LossError, TeacherError
from escalade.training.examples import ExampleList, check_labels
from escalade.training.losses import (
    IGNORE,
    Alpha,
    LossName,
    TokenLoss,
    needs_teacher,
    token_loss,
)
from escalade.training.teachers import Teacher, model_inputs, targets_of, vocabulary_size

#: The columns of `TokenLoss.counts`, as they are logged: shares of all target tokens that
#: the small and the large model predict right.
_GROUPS = ("tokens_both", "tokens_small_only", "tokens_large_only", "tokens_none")


class CatTrainer(Trainer):
    """Trainer for `p_S`, with the large model `p_L` asked beside it where the loss needs it.

    Everything else is transformers' Trainer. The model is a causal LM or an
    encoder-decoder; the data set's examples hold `input_ids`, `labels` (`IGNORE` where a
    token does not count) and, for a `CachedTeacher`, `example_index`.

    The loss of a step is the sum over its target tokens divided by their number, filtered
    ones included, over all accumulation steps and processes (see `losses`). Logged are that
    mean over all target tokens since the last log, the shares of them that both models predict
    right, one only, or none, and `tokens_filtered`, the share left out of the loss. Evaluation
    always reports plain cross-entropy (equation 2), the mean over all target tokens of the data
    set, so that runs with different losses can be compared. None of these depends on how
    examples are grouped into batches, accumulation steps and processes.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - passed through to transformers.Trainer
        loss_name: LossName = "xent",
        teacher: Teacher | None = None,
        alpha: Alpha = "any",
        w: float = 0.5,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Check that loss, teacher, model and labels fit together.

        Args:
            *args: transformers.Trainer's.
            loss_name: one of `losses.LOSSES`.
            teacher: the large model, where the loss looks at it; `HigherTiers` of several.
            alpha: by which of several a token is filtered, one of `losses.ALPHAS`.
            w: share of the one-hot term in equations 3, 7, 13 and 14.
            **kwargs: transformers.Trainer's.

        Raises:
            TeacherError: the loss needs a teacher and there is none.
            LossError: another loss, or smoothed labels, are asked for.
            DataError: a label is outside the vocabulary.
        """
        super().__init__(*args, **kwargs)
        if self.compute_loss_func is not None:
            raise LossError("compute_loss_func cannot be used: loss_name says what is learned")
        if smoothing := self.args.label_smoothing_factor:
            raise LossError(
                f"label_smoothing_factor must be 0, got {smoothing}: the losses here take labels"
                " as they are"
            )
        if needs_teacher(loss_name) and teacher is None:
            raise TeacherError(f"loss {loss_name!r} looks at a large model: give a teacher")
        # The sum over a batch is divided by its targets over all accumulation steps and
        # processes, which transformers counts where the model takes such a number.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True
        self._loss_name: LossName = loss_name
        self._teacher, self._alpha, self._w = teacher, alpha, w
        student = cast(PreTrainedModel, self.model)
        self._seq2seq = bool(student.config.is_encoder_decoder)
        #: Since the last log: the loss's sum; `TokenLoss.counts` and, last, the tokens kept.
        self._total: Tensor | None = None
        self._counts: Tensor | None = None
        #: Of the evaluation under way, in this process: nats, and target tokens.
        self._held_out = (0.0, 0)
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

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """The batches of one step, and how many targets they have in all processes."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        if not batches:
            return batches, None
        last, own = batches[-1], self._own_rows(batches[-1])
        if own < len(last["labels"]):
            # A process with none left computes something all the same: the others wait for it.
            batches[-1] = {name: values[: max(own, 1)] for name, values in last.items()}
            batches[-1]["labels"][own:] = IGNORE
        masks = (self._targets(batch) != IGNORE for batch in batches)
        count = torch.stack([mask.sum() for mask in masks]).sum().to(device)
        if self.args.average_tokens_across_devices:
            count = cast(Tensor, self.accelerator.reduce(count, reduction="sum"))
        return batches, count.clamp(min=1)

    def _own_rows(self, batch: Mapping[str, Tensor]) -> int:
        """How many rows of a batch do not only fill up a data set's last batch."""
        rows = len(batch["labels"])
        state, processes = self.accelerator.gradient_state, self.accelerator.num_processes
        if processes == 1 or not state.end_of_dataloader:
            return rows
        if self.args.dataloader_drop_last or not self.accelerator.even_batches:
            return rows  # nothing is filled up
        dataset = state.active_dataloader.dataset
        # accelerate's remainder is missing where a run goes on within an epoch.
        examples = len(dataset) if hasattr(dataset, "__len__") else state.remainder
        if examples < 1:
            return rows
        return rows_of_last_batch(rows, examples, processes, self.accelerator.process_index)

    def _targets(self, batch: Mapping[str, Tensor]) -> Tensor:
        return targets_of(batch["labels"], seq2seq=self._seq2seq)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss by target token; see the class."""
        targets = self._targets(inputs)
        student = cast(PreTrainedModel, self.accelerator.unwrap_model(self.model))
        _keep_low_precision(student)
        outputs = model(**model_inputs(inputs, student))
        logits: Tensor = outputs.logits
        if model.training:
            result = self._training_loss(logits, targets, inputs)
        else:
            result = token_loss("xent", logits, targets)
            nats, tokens = self._held_out
            self._held_out = nats + result.total.item(), tokens + int(result.counts.sum())
        count = result.counts.sum().clamp(min=1)
        loss = result.total / (count if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The processes' gradients are averaged; each must stand for its share of a sum.
            loss = loss * self.accelerator.num_processes
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss

    def _training_loss(
        self, logits: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]
    ) -> TokenLoss:
        idle = bool((targets == IGNORE).all())  # nothing to ask the teacher about
        asked = None if idle or not needs_teacher(self._loss_name) else self._teacher
        result = token_loss(
            "xent" if idle else self._loss_name,
            logits,
            targets,
            asked.predict(inputs) if asked is not None else None,
            alpha=self._alpha,
            w=self._w,
            keep=self.keep(logits, targets, inputs),
            overwrite=logits.requires_grad,
        )
        total = result.total.detach()
        counts = torch.cat([result.counts, result.kept.reshape(1)])
        self._total = total if self._total is None else self._total + total
        self._counts = counts if self._counts is None else self._counts + counts
        return result

    def keep(self, logits: Tensor, targets: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Which tokens count, `(B, T)` bool, in place of the loss's own filter; None: that one.

        For experiments on the filter: a subclass may choose tokens by another criterion.
        """
        return None

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Take the mean over the tokens since the last log, add their shares, log as usual."""
        if "loss" in logs and self._total is not None and self._counts is not None:
            nats = float(self.accelerator.gather(self._total.reshape(1)).sum())
            counts = self.accelerator.gather(self._counts.reshape(1, -1))
            *groups, kept = counts.sum(dim=0).tolist()
            if total := sum(groups):
                logs["loss"] = nats / total
                if needs_teacher(self._loss_name):
                    shares = (group / total for group in groups)
                    logs.update(zip(_GROUPS, shares, strict=True))
                else:
                    logs["tokens_right"] = (groups[0] + groups[1]) / total
                logs["tokens_filtered"] = 1 - kept / total
            self._total = self._counts = None
        super().log(logs, *args, **kwargs)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """As transformers, without what only fills up the last batch."""
        if "labels" in inputs:
            inputs["labels"][self._own_rows(inputs) :] = IGNORE
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As transformers, but the loss is the mean over target tokens, not over batches."""
        self._held_out, name = (0.0, 0), f"{metric_key_prefix}_loss"
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        heard: list[tuple[float, int]] = gather_object([self._held_out])
        if output.metrics and name in output.metrics:  # not where there are no labels
            tokens = sum(count for _, count in heard)
            mean = math.fsum(nats for nats, _ in heard) / tokens if tokens else math.nan
            output.metrics[name] = mean
        return output


def _keep_low_precision(model: PreTrainedModel) -> None:
    """Take off accelerate's cast of all outputs to float32; the loss casts chunk by chunk.

    Under mixed precision accelerate wraps `forward` twice, in autocast and in that cast; the
    cast alone would hold the logits twice, once in float32.
    """
    cast_outputs = getattr(model.forward, "__wrapped__", None)
    if isinstance(cast_outputs, ConvertOutputsToFp32):
        model.forward = MethodType(cast_outputs.model_forward, model)
