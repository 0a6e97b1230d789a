"""Whether a model's queries may be computed together, found by trying; knows no batch, no queue.

The library takes models that it does not compute rightly (Bloom, transformers 5.23), and fails on
others at the first query.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel

from escalade.cloud.backends.query import Answer, Query, ScoreQuery, Scores

# Prompts by which a model is tried, of more than one page together, and tokens of an answer.
_PROMPT_LENGTHS, _TOKENS = (1, 5, 17, 23), 6
# Log-probabilities nearer than this are one. SmolLM2-135M differs by 1e-5, 0.01 and 0.15 here.
_SAME = {torch.float32: 1e-2, torch.float16: 1e-1, torch.bfloat16: 5e-1}


def why_alone(network: PreTrainedModel) -> str | None:
    """Why the library is not even asked; None where it is."""
    if network.config.is_encoder_decoder:
        return "an encoder-decoder"
    devices = {values.device for values in network.parameters()}
    return f"its layers are on {len(devices)} devices" if len(devices) > 1 else None


def trial_queries(vocabulary_size: int, longest: int) -> list[Query]:
    """A few of unlike length, none of more than `longest` tokens with its answer."""
    return [
        Query(tuple((7 * place + length) % vocabulary_size for place in range(length)), _TOKENS)
        for length in _PROMPT_LENGTHS
        if length + _TOKENS <= longest
    ]


def given_responses(queries: Sequence[Query], together: Sequence[Answer]) -> list[ScoreQuery]:
    """What was answered together, to be scored alone."""
    return [
        ScoreQuery(query.prompt_ids, tuple(answer.chosen_ids))
        for query, answer in zip(queries, together, strict=True)
    ]


def agree(together: Sequence[Answer], alone: Sequence[Scores], dtype: torch.dtype) -> bool:
    """Whether the model itself, asked alone, finds what was said as likely."""
    same = _SAME.get(dtype, min(_SAME.values()))
    return all(
        np.allclose(answer.logprobs, scores.response_logprobs, atol=same)
        for answer, scores in zip(together, alone, strict=True)
    )


@contextmanager
def library_muted() -> Iterator[None]:
    """Keep a failure of the library off the terminal: it is told in a line."""
    log = logging.getLogger("ContinuousBatchingLogger")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
