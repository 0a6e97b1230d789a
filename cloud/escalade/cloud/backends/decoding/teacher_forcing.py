"""Scores given responses under a torch model, teacher-forced; knows no tokenizer, no gRPC."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from escalade.cloud.backends.query import ScoreQuery, Scores

# Logits that are in float32 at one time: 16 MiB, whatever the batch and the vocabulary.
_FLOAT32_ELEMENTS = 1 << 22


@torch.inference_mode()
def score_batch(
    model: PreTrainedModel,
    queries: Sequence[ScoreQuery],
    top_k: int,
    decoder_start_id: int | None = None,
) -> list[Scores]:
    """One forward pass over all queries, each padded on the right and masked.

    A causal model sees no token to the right, so padding changes a score by rounding alone; an
    encoder is told of it. Logits are made for response positions only, in the model's own type, and
    turned into float32 log-probabilities a few rows at a time.

    Args:
        model: a causal language model, or an encoder-decoder.
        queries: at least one.
        top_k: at most the vocabulary.
        decoder_start_id: what an encoder-decoder's responses begin with.
    """
    inputs: dict[str, Tensor] = {}
    if decoder_start_id is None:
        read = [(*query.prompt_ids, *query.response_ids) for query in queries]
    else:
        inputs["input_ids"], inputs["attention_mask"] = _padded([q.prompt_ids for q in queries])
        read = [(decoder_start_id, *query.response_ids) for query in queries]
    # The last token of a sequence predicts nothing that was asked.
    prefix = "" if decoder_start_id is None else "decoder_"
    ids, mask = _padded([sequence[:-1] for sequence in read])
    inputs |= {f"{prefix}input_ids": ids, f"{prefix}attention_mask": mask}
    asked = mask.bool()
    for row, (sequence, query) in enumerate(zip(read, queries, strict=True)):
        asked[row, : len(sequence) - len(query.response_ids) - 1] = False
    asked = asked.to(model.device)
    takes_mask = "logits_to_keep" in inspect.signature(model.forward).parameters
    logits: Tensor = model(
        **{name: tensor.to(model.device) for name, tensor in inputs.items()},
        use_cache=False,
        **({"logits_to_keep": asked} if takes_mask else {}),
    ).logits
    if not takes_mask:
        logits = logits[asked]
    labels = torch.tensor([token for query in queries for token in query.response_ids])
    labels = labels.to(logits.device)
    rows = max(1, _FLOAT32_ELEMENTS // logits.shape[-1])
    parts = [
        _score_rows(some, its_labels, top_k)
        for some, its_labels in zip(logits.split(rows), labels.split(rows), strict=True)
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    ends = list(accumulate(len(query.response_ids) for query in queries))[:-1]
    split = [np.split(column, ends) for column in columns]
    return [Scores(*of_one) for of_one in zip(*split, strict=True)]


def _padded(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids filled up with 0 on the right, and the mask of what is none, both `(N, longest)`."""
    tensors = [torch.tensor(sequence) for sequence in sequences]
    return (
        pad_sequence(tensors, batch_first=True),
        pad_sequence([torch.ones_like(one) for one in tensors], batch_first=True),
    )


def _score_rows(
    logits: Tensor, labels: Tensor, top_k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """The fields of `Scores` for `(R, V)` logits and `(R,)` labels."""
    logits = logits.float()
    # The best are chosen by logit: log-probabilities round, and rounding makes ties.
    top_ids = logits.topk(top_k, dim=-1).indices
    logprobs = logits.log_softmax(dim=-1)
    return (
        logits.argmax(dim=-1).int().cpu().numpy(),
        logprobs.gather(-1, labels[:, None])[:, 0].cpu().numpy(),
        top_ids.int().cpu().numpy(),
        logprobs.gather(-1, top_ids).cpu().numpy(),
    )
