"""Greedy answers and exact match of a torch model on query records; knows no training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from escalade.edge.records import Record


def greedy_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 256,
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """Answer each prompt greedily, in batches of equal prompt length (no padding needed).

    Args:
        model: a causal LM, moved by the caller where it should run.
        tokenizer: its tokenizer.
        prompts: as a user would type them.
        max_new_tokens: longest response; less where the model's window ends earlier.
        batch_size: prompts answered at once.
        progress: called with the number of prompts answered so far.

    Returns:
        One response for each prompt, in order.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    encoded = tokenizer(list(prompts))["input_ids"]
    for index, ids in enumerate(encoded):
        by_length[len(ids)].append(index)
    answers = [""] * len(prompts)
    done = 0
    window = getattr(model.config, "max_position_embeddings", None)
    for length, indices in by_length.items():
        room = max_new_tokens if window is None else min(max_new_tokens, window - length)
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            ids = torch.tensor([encoded[i] for i in chosen], device=model.device)
            with torch.no_grad():
                out = model.generate(  # type: ignore[operator] # transformers hides its type
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=room,
                    do_sample=False,
                    repetition_penalty=1.0,  # a model's own defaults may hold another
                    no_repeat_ngram_size=0,
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                )
            texts = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
            for index, text in zip(chosen, texts, strict=True):
                answers[index] = text
            done += len(chosen)
            progress(done)
    return answers


def exact_match(records: Sequence[Record], answers: Sequence[str]) -> dict[str, float]:
    """Share of answers among the references: by task, and `mean` over tasks."""
    right: dict[str, list[bool]] = defaultdict(list)
    for record, answer in zip(records, answers, strict=True):
        right[record.task].append(answer in record.references)
    by_task = {task: sum(hits) / len(hits) for task, hits in sorted(right.items())}
    return {**by_task, "mean": sum(by_task.values()) / len(by_task)}
