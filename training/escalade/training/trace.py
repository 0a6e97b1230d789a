"""Leaves a trace of torch models that are all asked every query; knows no network, no artifact.

Such a trace holds what a deferral curve needs: answers, log-probabilities, tokens read and
written. No device and no network took part, so that every time in it is 0 and no link was
crossed. `escalade record` leaves one with both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from escalade.edge.base import Record, named, utc_now
from escalade.edge.deferral import defers, mean_nll
from escalade.edge.trace import (
    TRACE_SCHEMA,
    MemberAnswer,
    MemberInfo,
    Place,
    TierAnswer,
    TierInfo,
    Trace,
    TraceHeader,
    TraceRecord,
    is_correct,
)
from escalade.training.errors import TrainingError
from escalade.training.quality import GreedyAnswer, greedy_answers

_LEAST_TIERS = 2


class Answered(NamedTuple):
    """A model, and what it said to every query."""

    model: MemberInfo
    answers: Sequence[GreedyAnswer]


def answer_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    where: Callable[[Record], str] = named,
    progress: Callable[[int], None] = lambda done: None,
) -> list[GreedyAnswer]:
    """A model's greedy answer to every record, as long as the longest reference asks for.

    Args:
        model: where it should run.
        tokenizer: its tokenizer.
        records: the queries.
        where: what messages call a record.
        progress: called with the number of queries answered so far.
    """
    return greedy_answers(
        model,
        tokenizer,
        [record.prompt for record in records],
        max_new_tokens=longest_answer(records, tokenizer),
        where=lambda index: where(records[index]),
        progress=progress,
    )


def longest_answer(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the longest reference and the end of sequence."""
    texts = [text for record in records for text in record.references]
    return 1 + max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))


def trace_of(records: Sequence[Record], models: Sequence[Answered], *, threshold: float) -> Trace:
    """The trace of a cascade whose tiers are one model each, under the mean rule (equation 5).

    The first is on the device, the last in the cloud, and those between are gateways; a tier
    is called as its model.

    Args:
        records: N queries.
        models: 2 or more, from the one that is asked first, with N answers each.
        threshold: tau of every gate; replays may choose others.

    Raises:
        TrainingError: there are fewer than 2 models, or two have one name.
    """
    names = [model.name for model, _ in models]
    if len(names) < _LEAST_TIERS:
        raise TrainingError(f"a cascade needs at least {_LEAST_TIERS} models, got {len(names)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrainingError(f"models must have names of their own, got {twice[0]!r} twice")
    last = len(models) - 1
    header = TraceHeader(
        schema=TRACE_SCHEMA,
        tiers=[
            TierInfo(
                name=model.name,
                place=_place(index, last),
                members=[model],
                rule=None if index == last else "mean",
                threshold=None if index == last else threshold,
            )
            for index, (model, _) in enumerate(models)
        ],
        created=utc_now(),
    )
    rows = zip(records, *(answers for _, answers in models), strict=True)
    return Trace(header, [_record(record, said, threshold) for record, *said in rows])


def member_info(name: str, model: PreTrainedModel) -> MemberInfo:
    """Who a model is, and how much it weighs."""
    return MemberInfo(name=name, parameters=sum(p.numel() for p in model.parameters()))


def _place(index: int, last: int) -> Place:
    if index == 0:
        return "device"
    return "cloud" if index == last else "gateway"


def _record(record: Record, said: Sequence[GreedyAnswer], threshold: float) -> TraceRecord:
    scores = [mean_nll(one.logprobs) for one in said[:-1]]
    staying = (tier for tier, score in enumerate(scores) if not defers(score, threshold))
    answered_by = next(staying, len(scores))
    return TraceRecord(
        id=record.id,
        task=record.task,
        prompt=record.prompt,
        references=list(record.references),
        tiers=[
            _tier(one, score, record.references)
            for one, score in zip(said, [*scores, None], strict=True)
        ],
        answered_by=answered_by,
        outcome="deferred" if answered_by else "answered",
        total_s=0.0,
    )


def _tier(said: GreedyAnswer, score: float | None, references: Sequence[str]) -> TierAnswer:
    correct = is_correct(said.text, references)
    member = MemberAnswer(
        member=0,
        text=said.text,
        logprobs=said.logprobs,
        prompt_tokens=said.prompt_tokens,
        generated_tokens=len(said.logprobs),
        seconds=0.0,
        correct=correct,
    )
    return TierAnswer(text=said.text, members=[member], score=score, correct=correct, seconds=0.0)
