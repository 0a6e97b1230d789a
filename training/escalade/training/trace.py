"""Leaves a trace of two torch models, both asked every query; knows no network, no artifact.

Such a trace holds what a deferral curve needs: answers, log-probabilities, tokens read and
written. No device and no network took part, so that every time and every byte in it is 0.
`escalade record` leaves one with both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from escalade.edge.base import Record, utc_now
from escalade.edge.deferral import defers, mean_nll
from escalade.edge.trace import (
    TRACE_SCHEMA,
    LargeAnswer,
    ModelInfo,
    SmallAnswer,
    Trace,
    TraceHeader,
    TraceRecord,
)
from escalade.training.quality import GreedyAnswer, greedy_answers


def answer_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> list[GreedyAnswer]:
    """A model's greedy answer to every record, as long as the longest reference asks for.

    Args:
        model: where it should run.
        tokenizer: its tokenizer.
        records: the queries.
        progress: called with the number of queries answered so far.
    """
    return greedy_answers(
        model,
        tokenizer,
        [record.prompt for record in records],
        max_new_tokens=longest_answer(records, tokenizer),
        progress=progress,
    )


def longest_answer(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the longest reference and the end of sequence."""
    texts = [text for record in records for text in record.references]
    return 1 + max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))


def trace_of(
    records: Sequence[Record],
    small: tuple[ModelInfo, Sequence[GreedyAnswer]],
    large: tuple[ModelInfo, Sequence[GreedyAnswer]],
    *,
    threshold: float,
) -> Trace:
    """The trace of a cascade of two models under the mean rule (equation 5).

    Args:
        records: N queries.
        small: who the small model is, and its N answers.
        large: the same of the large model.
        threshold: tau; replays may choose another.
    """
    header = TraceHeader(
        schema=TRACE_SCHEMA,
        small=small[0],
        large=large[0],
        rule="mean",
        threshold=threshold,
        created=utc_now(),
    )
    rows = zip(records, small[1], large[1], strict=True)
    return Trace(header, [_record(*row, threshold) for row in rows])


def model_info(name: str, model: PreTrainedModel) -> ModelInfo:
    """Who a tier is, and how much it weighs."""
    return ModelInfo(name=name, parameters=sum(p.numel() for p in model.parameters()))


def _record(
    record: Record, small: GreedyAnswer, large: GreedyAnswer, threshold: float
) -> TraceRecord:
    score = mean_nll(small.logprobs)
    judged = bool(record.references)
    return TraceRecord(
        id=record.id,
        task=record.task,
        prompt=record.prompt,
        references=list(record.references),
        small=SmallAnswer(
            text=small.text,
            logprobs=small.logprobs,
            prompt_tokens=small.prompt_tokens,
            generated_tokens=len(small.logprobs),
            generate_s=0.0,
            correct=small.text in record.references if judged else None,
        ),
        large=LargeAnswer(
            text=large.text,
            prompt_tokens=large.prompt_tokens,
            generated_tokens=len(large.logprobs),
            correct=large.text in record.references if judged else None,
            round_trip_s=0.0,
            server_s=0.0,
            bytes_up=0,
            bytes_down=0,
        ),
        score=score,
        outcome="deferred" if defers(score, threshold) else "answered",
        total_s=0.0,
    )
