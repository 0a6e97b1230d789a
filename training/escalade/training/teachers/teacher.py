"""The large model p_L through its functional API: what it predicts where; knows no loss.

Cascade-aware training asks p_L one question only: given a query and the beginning of a
response, which token comes next? The CAT paper (arXiv 2406.00060, section 1) holds this to
what any served model offers. Three sources answer it: a model in this process
(`LocalTeacher`), the cloud's `Score` RPC (`CloudTeacher`), and what either of them said
before, on disk (`prediction_cache.CachedTeacher`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from escalade.training.errors import TeacherError
from escalade.training.losses import IGNORE, Predictions
from escalade.v1 import cascade_pb2 as pb

if TYPE_CHECKING:  # gRPC is needed only where a cloud is asked
    from escalade.training.teachers.cloud_scorer import CloudScorer


class Teacher(Protocol):
    """Anything that says what p_L predicts."""

    @property
    def identity(self) -> pb.ModelIdentity:
        """Which model answers; its tokenizer's fingerprint is left out where nobody has it."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """How wide its distributions are."""
        ...

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        """What p_L predicts at each target of a batch.

        Args:
            batch: `input_ids`, `attention_mask`, `labels`, each `(B, T)`, and `example_index`
                `(B,)`, as `examples.Collator` makes them.

        Returns:
            Predictions aligned with `targets_of(labels)`.
        """
        ...


def targets_of(labels: Tensor, *, seq2seq: bool) -> Tensor:
    """The token that each position's logits predict, `(B, T)`.

    An encoder-decoder reads its labels shifted, so they are the targets; a causal LM's
    logits at a position predict the next one, so its targets are the labels moved left.
    Moving the labels, not the logits, leaves the logits whole: no slice, no copy.
    """
    if seq2seq:
        return labels
    nothing = labels.new_full((labels.shape[0], 1), IGNORE)
    return torch.cat([labels[:, 1:], nothing], dim=1)


def at_targets(flat: Tensor, mask: Tensor) -> Tensor:
    """Values `(n, ...)` of a batch's n targets, row by row, at their places in `(B, T, ...)`."""
    out = flat.new_zeros((*mask.shape, *flat.shape[1:]), device=mask.device)
    out[mask] = flat.to(mask.device)
    return out


def model_inputs(batch: Mapping[str, Tensor], model: PreTrainedModel) -> dict[str, Tensor]:
    """What goes into a model's forward pass: everything but labels and example numbers."""
    inputs = {name: batch[name] for name in batch if name not in ("labels", "example_index")}
    if model.config.is_encoder_decoder and "decoder_input_ids" not in inputs:
        labels = batch["labels"]
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels=labels)  # type: ignore[operator]
    return inputs


class LocalTeacher:
    """A frozen model in this process; gives its full logits."""

    def __init__(self, model: PreTrainedModel, *, name: str = "local", revision: str = "") -> None:
        self.model = model.requires_grad_(False).train(False)
        #: Which model answers.
        self.identity = pb.ModelIdentity(name=name, revision=revision)
        self.vocabulary_size = vocabulary_size(model)

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        """One forward pass; moves the model to where the batch is."""
        device = batch["input_ids"].device
        if self.model.device != device:
            self.model.to(device)
        with torch.no_grad():
            logits: Tensor = self.model(**model_inputs(batch, self.model)).logits
        return Predictions(argmax=logits.argmax(dim=-1), logits=logits)


class HigherTiers:
    """Several teachers as one: every tier above the student, the next one first."""

    def __init__(self, tiers: Sequence[Teacher]) -> None:
        """Of one tier or more; of the last one also the distribution is used."""
        *self._between, self._last = tiers
        #: Which model answers last, and how wide its distributions are.
        self.identity = self._last.identity
        self.vocabulary_size = self._last.vocabulary_size

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        """What the last tier predicts, and the argmax of each between."""
        between = tuple(tier.predict(batch).argmax for tier in self._between)
        return dataclasses.replace(self._last.predict(batch), between=between)


class CloudTeacher:
    """The large model behind the cloud's `Score` RPC; gives its top-k log-probabilities."""

    def __init__(self, scorer: CloudScorer, *, top_k: int, seq2seq: bool = False) -> None:
        """Ask the server who it is.

        Raises:
            TeacherError: it does not answer, or has another tokenizer.
        """
        self._scorer, self._top_k, self._seq2seq = scorer, top_k, seq2seq
        info = scorer.info()
        #: Which model answers.
        self.identity = info.model
        self.vocabulary_size = info.vocabulary_size

    def predict(self, batch: Mapping[str, Tensor]) -> Predictions:
        """One stream of scores for the whole batch."""
        labels = batch["labels"].cpu()
        rows = zip(batch["input_ids"].cpu(), batch["attention_mask"].cpu(), labels, strict=True)
        items = [self._item(*row) for row in rows]
        mask = targets_of(batch["labels"], seq2seq=self._seq2seq) != IGNORE
        scores = list(self._scorer.score(items, top_k=self._top_k))

        def placed(values: list[Tensor]) -> Tensor:
            return at_targets(torch.cat(values), mask)

        argmax = placed([torch.from_numpy(score.argmax).long() for score in scores])
        if not self._top_k:
            return Predictions(argmax=argmax)
        return Predictions(
            argmax=argmax,
            top_ids=placed([torch.from_numpy(score.top_ids).long() for score in scores]),
            top_logprobs=placed([torch.from_numpy(score.top_logprobs) for score in scores]),
        )

    def _item(self, ids: Tensor, mask: Tensor, labels: Tensor) -> tuple[list[int], list[int]]:
        """The prompt and the response of one example."""
        counted = labels if self._seq2seq else labels[1:]
        targets: list[int] = counted[counted != IGNORE].tolist()
        read: list[int] = ids[mask.bool()].tolist()
        if self._seq2seq:
            return read, targets
        if read[len(read) - len(targets) :] != targets:
            raise TeacherError(
                "the Score RPC scores a response that ends its example; this batch has labels"
                " elsewhere: use a local teacher for such data"
            )
        return read[: len(read) - len(targets)], targets


def vocabulary_size(model: PreTrainedModel) -> int:
    """The width of a model's logits."""
    size: int = model.config.get_text_config().vocab_size
    return size


def check_tokenizers(
    student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, name: str
) -> None:
    """Refuse a teacher that would read the student's token ids as other tokens.

    The teacher may know more tokens than the student, after the student's own: every id
    that training shows it then means what the student means by it.

    Raises:
        TeacherError: some id of the student's means another token, or none, to the teacher.
    """
    theirs = teacher.get_vocab()
    strange = [token for token, id_ in student.get_vocab().items() if theirs.get(token) != id_]
    if strange:
        raise TeacherError(
            f"teacher {name!r}: its tokenizer is not the student's: {len(strange)} of"
            f" {len(student.get_vocab())} tokens have another id or none, e.g. {strange[0]!r};"
            " distillation by token needs one tokenizer on both sides"
        )
