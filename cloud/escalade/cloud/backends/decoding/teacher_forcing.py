"""Scores given responses under a torch model, teacher-forced; knows no tokenizer, no gRPC."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from escalade.cloud.backends.query import ScoreQuery, Scores

# Logits that are in float32 at one time: 16 MiB, whatever the batch and the vocabulary.
_FLOAT32_ELEMENTS = 1 << 22


@torch.inference_mode()
def score_batch(model: PreTrainedModel, queries: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
    """One forward pass over all queries, each padded on the right and masked.

    A causal model sees no token to the right, so padding changes a score by rounding alone.
    Logits are made for response positions only, in the model's own type, and turned into
    float32 log-probabilities a few rows at a time.

    Args:
        model: a causal language model on the CPU.
        queries: at least one.
        top_k: at most the vocabulary.
    """
    # The last token of a sequence predicts nothing that was asked.
    shape = len(queries), max(map(len, queries)) - 1
    input_ids = torch.zeros(shape, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    asked = torch.zeros(shape, dtype=torch.bool)
    for row, query in enumerate(queries):
        length = len(query) - 1
        input_ids[row, :length] = torch.tensor((*query.prompt_ids, *query.response_ids)[:-1])
        attention_mask[row, :length] = 1
        asked[row, len(query.prompt_ids) - 1 : length] = True
    takes_mask = "logits_to_keep" in inspect.signature(model.forward).parameters
    logits: Tensor = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        use_cache=False,
        **({"logits_to_keep": asked} if takes_mask else {}),
    ).logits
    if not takes_mask:
        logits = logits[asked]
    labels = torch.tensor([token for query in queries for token in query.response_ids])
    rows = max(1, _FLOAT32_ELEMENTS // logits.shape[-1])
    parts = [
        _score_rows(some, its_labels, top_k)
        for some, its_labels in zip(logits.split(rows), labels.split(rows), strict=True)
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    ends = list(accumulate(len(query.response_ids) for query in queries))[:-1]
    split = [np.split(column, ends) for column in columns]
    return [Scores(*of_one) for of_one in zip(*split, strict=True)]


def _score_rows(
    logits: Tensor, labels: Tensor, top_k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """The fields of `Scores` for `(R, V)` logits and `(R,)` labels."""
    logits = logits.float()
    # The best are chosen by logit: log-probabilities round, and rounding makes ties.
    top_ids = logits.topk(top_k, dim=-1).indices
    logprobs = logits.log_softmax(dim=-1)
    return (
        logits.argmax(dim=-1).to(torch.int32).numpy(),
        logprobs.gather(-1, labels[:, None])[:, 0].numpy(),
        top_ids.to(torch.int32).numpy(),
        logprobs.gather(-1, top_ids).numpy(),
    )
