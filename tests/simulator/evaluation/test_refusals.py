"""What an evaluation leaves out and notes, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.curves.curves import area_under_curve, deferral_curve
from escalade.simulator.errors import SimulatorError
from escalade.simulator.evaluation.evaluation import evaluate

RESAMPLES = 60


def test_only_queries_in_every_trace_count_and_it_says_so(
    realistic_trace: Trace, better_trace: Trace, without_answer: Callable[..., TraceRecord]
) -> None:
    unasked = [without_answer(record, 1) for record in better_trace.records[:50]]
    partial = better_trace._replace(records=[*unasked, *better_trace.records[50:700]])
    found = evaluate({"a": [realistic_trace], "b": [partial]}, resamples=RESAMPLES)
    assert found.slices[0].queries == 650
    assert found.notes == [
        "b: 50 of 700 queries have no answer from tier 'cloud' and are left out",
        "a: 350 of 1000 queries are not in every trace and are left out",
    ]
    shared = realistic_trace._replace(records=realistic_trace.records[50:700])
    counted = next(row for row in found.slices[0].headlines if row.group == "a")
    assert counted.area.value == pytest.approx(area_under_curve(deferral_curve(shared)))


def test_recorded_scores_of_different_rules_are_noted(
    realistic_trace: Trace, better_trace: Trace
) -> None:
    device, cloud = better_trace.header.tiers
    tiers = [msgspec.structs.replace(device, rule="min"), cloud]
    header = msgspec.structs.replace(better_trace.header, tiers=tiers)
    groups = {"a": [realistic_trace], "b": [better_trace._replace(header=header)]}
    found = evaluate(groups, resamples=1)
    assert found.notes == ["recorded: scores are of different rules: mean, min"]
    assert evaluate(groups, rules=["mean"], resamples=1).notes == []


def test_bleu_of_short_answers_is_noted(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.1, 0.2], [True] * 2, [True] * 2)
    found = evaluate({"m": [trace]}, metric="bleu", resamples=RESAMPLES)
    assert found.notes == ["all queries: BLEU is 0, as it is without answers of 4 words"]
    assert found.metric.signature is not None
    assert found.metric.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"metric": "blue"}, "got 'blue'; did you mean 'bleu'?"),
        ({"cost": "flop"}, "cost must be one of flops_per_token, "),
        ({"rules": ["meen"]}, "a: rule must be one of recorded, mean, "),
        ({"rules": []}, "at least 1 rule"),
        ({"rules": ["mean", "mean"]}, "rule 'mean' is given twice"),
        ({"baseline": "aa"}, "baseline must be one of a, b; got 'aa'; did you mean 'a'?"),
        ({"quality": 86.0}, r"quality must be in [0, 1], the range of 'recorded'; got 86"),
        ({"quality": math.nan}, "quality must be in [0, 1]"),
        ({"metric": "bleu", "quality": 101.0}, "in [0, 100], the range of 'bleu'; got 101"),
        ({"gate": "clod"}, "a: gate must be one of device; got 'clod'"),
        ({"gate": "cloud"}, "got 'cloud' (the last, which has no gate)"),
        ({"budget": -1.0}, "budget must be finite and >= 0; got -1"),
        ({"resamples": 0}, "resamples must be in [1, 100000]; got 0"),
        ({"resamples": 10**11}, "resamples must be in [1, 100000]; got 100000000000"),
        ({"seed": -1}, "seed must be >= 0; got -1"),
    ],
)
def test_what_is_out_of_range_is_named(
    realistic_trace: Trace, better_trace: Trace, arguments: dict[str, object], says: str
) -> None:
    with pytest.raises(SimulatorError) as error:
        evaluate({"a": [realistic_trace], "b": [better_trace]}, **{"resamples": 1, **arguments})
    assert says in str(error.value)


def test_traces_that_cannot_be_evaluated_are_refused(
    realistic_trace: Trace, without_answer: Callable[..., TraceRecord]
) -> None:
    records = realistic_trace.records
    with pytest.raises(SimulatorError, match="at least 1 trace"):
        evaluate({})
    with pytest.raises(SimulatorError, match="group 'a' has no trace"):
        evaluate({"a": []})
    twice = realistic_trace._replace(records=[*records, records[0]])
    with pytest.raises(SimulatorError, match="b: 1 of 1001 queries are in the trace twice"):
        evaluate({"a": [realistic_trace], "b": [twice]})
    for change in ({"task": "another"}, {"references": ["left"]}):
        changed = [*(msgspec.structs.replace(r, **change) for r in records[:3]), *records[3:]]
        with pytest.raises(SimulatorError, match="b: 3 of 1000 queries have another task or other"):
            evaluate({"a": [realistic_trace], "b": [realistic_trace._replace(records=changed)]})
    other = [msgspec.structs.replace(r, id=f"other {r.id}") for r in records]
    with pytest.raises(SimulatorError, match="no query is in every trace"):
        evaluate({"a": [realistic_trace], "b": [realistic_trace._replace(records=other)]})
    alone = [without_answer(r, 1) for r in records]
    with pytest.raises(SimulatorError, match="a: no query has an answer from tier 'cloud'"):
        evaluate({"a": [realistic_trace._replace(records=alone)]})


def test_traces_of_several_currencies_are_not_compared(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([0.1], [True], [True], prices=((1.0, 1.0), (1.0, 1.0)))
    header = msgspec.structs.replace(trace.header, currency="EUR")
    groups = {"a": [trace], "b": [trace._replace(header=header)]}
    with pytest.raises(SimulatorError, match="one currency; traces have EUR, USD"):
        evaluate(groups, cost="money", resamples=1)
    assert evaluate({"a": groups["b"]}, cost="money", resamples=1).cost.unit == "EUR"
