"""Greedy answers of a torch model with their log-probabilities; knows no training, no rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from escalade.checkpoint import GREEDY, read_generation
from escalade.edge.base import Record
from escalade.edge.errors import DataError


class GreedyAnswer(NamedTuple):
    """A response and what a deferral rule needs to judge it."""

    text: str
    #: Natural logarithm of each generated token's probability, the end of sequence included.
    logprobs: list[float]
    prompt_tokens: int


class _ChosenLogprobs(LogitsProcessor):
    """Keeps the log-probability of each step's greedy choice; changes no logit."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        values = scores.float()
        self.steps.append(values.amax(dim=-1) - values.logsumexp(dim=-1))
        return scores


def greedy_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 256,
    where: Callable[[int], str] = lambda index: f"prompt {index + 1}",
    progress: Callable[[int], None] = lambda done: None,
) -> list[GreedyAnswer]:
    """Answer each prompt greedily, in batches of equal prompt length (no padding needed).

    Args:
        model: a causal LM or an encoder-decoder, moved by the caller where it should run.
        tokenizer: its tokenizer; where an answer ends, the model's own settings say.
        prompts: as a user would type them.
        max_new_tokens: longest response; less where a causal LM's window ends earlier.
        batch_size: prompts answered at once.
        where: what messages call the prompt of an index.
        progress: called with the number of prompts answered so far.

    Returns:
        One answer for each prompt, in order.

    Raises:
        DataError: there is no prompt, or one is empty or fills the model's window.
        CheckpointError: the model would not answer greedily; see `read_generation`.
    """
    ends = read_generation(model).end_ids
    if not prompts:
        raise DataError("no prompts; at least 1 is needed")
    by_length: dict[int, list[int]] = defaultdict(list)
    encoded = tokenizer(list(prompts))["input_ids"]
    for index, ids in enumerate(encoded):
        by_length[len(ids)].append(index)
    answers: list[GreedyAnswer | None] = [None] * len(prompts)
    done = 0
    seq2seq = bool(model.config.is_encoder_decoder)
    text_config = model.config.get_text_config()
    window = None if seq2seq else getattr(text_config, "max_position_embeddings", None)
    if 0 in by_length:
        raise DataError(
            f"{where(by_length[0][0])}: the prompt is empty; at least 1 token is needed"
        )
    if window is not None and max(by_length) >= window:
        raise DataError(
            f"{where(by_length[max(by_length)][0])}: a prompt of {max(by_length)} tokens leaves no"
            f" room in the model's window, {window}"
        )
    for length, indices in by_length.items():
        room = max_new_tokens if window is None else min(max_new_tokens, window - length)
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            ids = torch.tensor([encoded[i] for i in chosen], device=model.device)
            kept = _ChosenLogprobs()
            with torch.no_grad():
                out = model.generate(  # type: ignore[operator] # transformers hides its type
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=room,
                    pad_token_id=ends[0],  # after the end of a row: counted by nobody
                    logits_processor=LogitsProcessorList([kept]),
                    **GREEDY,
                )
            # An encoder-decoder's output begins with its start token, a causal LM's with x.
            generated = out[:, 1 if seq2seq else ids.shape[1] :]
            logprobs = torch.stack(kept.steps, dim=1)
            ended = torch.isin(generated, torch.tensor(ends, device=generated.device)).int()
            # The end of sequence counts, what pads the row after it does not.
            lengths = (ended.cumsum(dim=1) - ended == 0).sum(dim=1).tolist()
            said = ((ended.cumsum(dim=1) == 0).sum(dim=1)).tolist()
            for row, index in enumerate(chosen):
                text = tokenizer.decode(generated[row, : said[row]], skip_special_tokens=True)
                values = logprobs[row, : lengths[row]].tolist()
                answers[index] = GreedyAnswer(str(text), values, length)
            done += len(chosen)
            progress(done)
    return [answer for answer in answers if answer is not None]


def exact_match(records: Sequence[Record], answers: Sequence[str]) -> dict[str, float]:
    """Share of answers among the references: by task, and `mean` over tasks."""
    right: dict[str, list[bool]] = defaultdict(list)
    for record, answer in zip(records, answers, strict=True):
        right[record.task].append(answer in record.references)
    by_task = {task: sum(hits) / len(hits) for task, hits in sorted(right.items())}
    return {**by_task, "mean": sum(by_task.values()) / len(by_task)}
