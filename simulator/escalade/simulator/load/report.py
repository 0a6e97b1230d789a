"""What came of a run, in numbers; knows no clock and no connection.

Latency is from when a request was due to its whole answer. In an open loop that leaves nothing out:
what a slow server holds up is due all the same. A closed loop sends nothing while it waits, so that
a stall counts once for each client however long it lasts ("coordinated omission", G. Tene, "How NOT
to measure latency"). HdrHistogram can add what is missing where it is known how often a client
would have asked; of one who asks when it is answered, nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import msgspec
from hdrh.histogram import HdrHistogram

from escalade.simulator.load.driver import Asked, Driven
from escalade.simulator.load.plan import Plan
from escalade.simulator.timing import ClockReport
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason

# HdrHistogram keeps whole numbers, here microseconds up to an hour, to 3 digits.
_PER_S, _MOST, _DIGITS = 1e6, 3_600_000_000, 3
_LATE = name_of_reason(pb.ERROR_REASON_DEADLINE_EXCEEDED)


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, to 3 digits."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that one reason ended."""

    reason: str
    count: int
    #: What the server said the first time.
    detail: str


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run.

    Attributes:
        address: who was asked.
        model: as the server calls it.
        engine: as the server calls it.
        streamed: whether answers came as streams.
        prompts: different ones.
        plan: how it was asked.
        seconds: that were measured.
        requests: that were due in them.
        answered: of these, those with a whole answer, however late.
        deadline_missed: those without an answer within the deadline, or with one after it.
        refused: all others, by reason, the most frequent first.
        requests_per_s: that were due.
        answers_per_s: that came in the seconds measured.
        goodput_per_s: those within the deadline.
        tokens_per_s: generated, of answers that came in the seconds measured.
        tokens: generated, of all requests measured.
        bytes_up: of their messages.
        bytes_down: of the messages of their answers.
        latency: of answers.
        first_token: from when a request was due; None where nothing was streamed.
        between_tokens: for each token but the first; those of one message share the time.
        refusal: from when a refused request was sent to its refusal.
        sent_late: from when a request was due until it was sent: what this machine took.
        clock: what it makes of delays; None where that was not timed.
    """

    address: str
    model: str
    engine: str
    streamed: bool
    prompts: int
    plan: Plan
    seconds: float
    requests: int
    answered: int
    deadline_missed: int
    refused: list[Refusals]
    requests_per_s: float
    answers_per_s: float
    goodput_per_s: float
    tokens_per_s: float
    tokens: int
    bytes_up: int
    bytes_down: int
    latency: Percentiles | None
    first_token: Percentiles | None
    between_tokens: Percentiles | None
    refusal: Percentiles | None
    sent_late: Percentiles | None
    clock: ClockReport | None = None


def report_of(
    plan: Plan, driven: Driven, info: pb.GetModelInfoResponse, *, address: str, prompts: int
) -> LoadReport:
    """The numbers of a run.

    Args:
        plan: how it was asked.
        driven: what came.
        info: who was asked.
        address: where.
        prompts: how many different ones.
    """
    measured = [one for one in driven.asked if one.due_s >= driven.from_s]
    answers = [one for one in measured if not one.said.reason]
    refused = [one for one in measured if one.said.reason not in {"", _LATE}]
    # A rate is of what comes in a time, whenever it was asked: else those at the end are missing.
    came = [
        one
        for one in driven.asked
        if not one.said.reason and driven.from_s <= one.ended_s <= driven.to_s
    ]
    seconds = driven.to_s - driven.from_s
    streamed = [one for one in answers if one.said.pieces]
    return LoadReport(
        address=address,
        model=info.model.name,
        engine=info.engine,
        streamed=bool(streamed),
        prompts=prompts,
        plan=plan,
        seconds=seconds,
        requests=len(measured),
        answered=len(answers),
        deadline_missed=sum(
            not _in_time(one, plan) and one.said.reason in {"", _LATE} for one in measured
        ),
        refused=_by_reason(refused),
        requests_per_s=len(measured) / seconds,
        answers_per_s=len(came) / seconds,
        goodput_per_s=sum(_in_time(one, plan) for one in came) / seconds,
        tokens_per_s=sum(one.said.tokens for one in came) / seconds,
        tokens=sum(one.said.tokens for one in measured),
        bytes_up=sum(one.said.bytes_up for one in measured),
        bytes_down=sum(one.said.bytes_down for one in measured),
        latency=percentiles(one.ended_s - one.due_s for one in answers),
        first_token=percentiles(one.said.pieces[0][0] - one.due_s for one in streamed),
        between_tokens=percentiles(gap for one in streamed for gap in _gaps(one)),
        refusal=percentiles(one.ended_s - one.sent_s for one in refused),
        sent_late=percentiles(one.sent_s - one.due_s for one in measured) if plan.rate else None,
    )


def percentiles(seconds: Iterable[float]) -> Percentiles | None:
    """The percentiles of some times, none above an hour; None of no times."""
    histogram = HdrHistogram(1, _MOST, _DIGITS)
    for one in seconds:
        histogram.record_value(min(max(1, round(one * _PER_S)), _MOST))
    if not histogram.total_count:
        return None
    found = histogram.get_percentile_to_value_dict([50, 90, 99, 99.9])
    p50, p90, p99, p99_9 = (found[one] / _PER_S for one in (50, 90, 99, 99.9))
    return Percentiles(
        count=histogram.total_count,
        mean=histogram.get_mean_value() / _PER_S,
        p50=p50,
        p90=p90,
        p99=p99,
        p99_9=p99_9,
        max=histogram.get_max_value() / _PER_S,
    )


def _in_time(one: Asked, plan: Plan) -> bool:
    return not one.said.reason and one.ended_s - one.due_s <= plan.deadline_s


def _gaps(one: Asked) -> Iterable[float]:
    for (before_s, _), (then_s, tokens) in pairwise(one.said.pieces):
        yield from [(then_s - before_s) / tokens] * tokens


def _by_reason(refused: Iterable[Asked]) -> list[Refusals]:
    counts, details = Counter[str](), dict[str, str]()
    for one in refused:
        counts[one.said.reason] += 1
        details.setdefault(one.said.reason, one.said.detail)
    return [
        Refusals(reason=reason, count=count, detail=details[reason])
        for reason, count in counts.most_common()
    ]
