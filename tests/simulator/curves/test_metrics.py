"""Metrics: a curve's quality against sacrebleu, and against definitions written out plainly."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from escalade.edge.deferral import defers
from escalade.edge.trace import Trace
from escalade.simulator.curves.columns import columns_of
from escalade.simulator.curves.curves import cost_at_quality, deferral_curve
from escalade.simulator.curves.metrics import METRICS, edit_distance
from escalade.simulator.curves.split import split_at
from escalade.simulator.curves.sweep import Sweep, oracle
from escalade.simulator.errors import SimulatorError

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat."]), max_size=7)
SENTENCES = WORDS.map(" ".join)
SCORES = st.sampled_from([0.1, 0.2, 0.5, math.nan])


@st.composite
def answered(draw: st.DrawFn) -> tuple[float, list[str], str, str]:
    """Score, references, small and large answer; answers are references more often than not."""
    references = draw(st.lists(SENTENCES, min_size=1, max_size=3))
    answers = st.one_of(SENTENCES, st.sampled_from(references), st.just(f"{references[0]} cat"))
    return draw(SCORES), references, draw(answers), draw(answers)


ANSWERED = st.lists(answered(), min_size=1, max_size=12)
Answered = list[tuple[float, list[str], str, str]]


def trace_of(make_trace: Callable[..., Trace], queries: Answered) -> Trace:
    n = len(queries)
    return make_trace(
        [query[0] for query in queries],
        [False] * n,
        [True] * n,
        texts=[query[1:] for query in queries],
    )


def mixed(trace: Trace, tau: float) -> list[str]:
    """What the cascade answers at a threshold."""
    pairs = [record.tiers for record in trace.records]
    return [cloud.text if defers(device.score, tau) else device.text for device, cloud in pairs]


def streams(trace: Trace) -> list[list[str | None]]:
    """References as sacrebleu takes them: the k-th of every query, None where there is none."""
    most = max(len(r.references) for r in trace.records)
    return [
        [r.references[k] if k < len(r.references) else None for r in trace.records]
        for k in range(most)
    ]


@settings(deadline=None)
@given(queries=ANSWERED)
@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_corpus_metric_at_every_threshold_is_that_of_sacrebleu(
    make_trace: Callable[..., Trace], metric: str, queries: Answered
) -> None:
    trace = trace_of(make_trace, queries)
    curve = deferral_curve(trace, metric=metric)
    judge = {"bleu": sacrebleu.corpus_bleu, "chrf": sacrebleu.corpus_chrf}[metric]
    for tau, quality in zip(curve.threshold, curve.quality, strict=True):
        expected = judge(mixed(trace, tau), streams(trace)).score
        assert quality == pytest.approx(expected, abs=1e-9), tau
    assert curve.a1 is None
    assert curve.a2 is None


@settings(deadline=None)
@given(queries=ANSWERED, data=st.data())
def test_corpus_metric_of_a_resample_is_that_of_sacrebleu(
    make_trace: Callable[..., Trace], queries: Answered, data: st.DataObject
) -> None:
    n = len(queries)
    places = data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    trace = trace_of(make_trace, queries)
    drawn = trace._replace(records=[trace.records[place] for place in places])
    for metric, judge in (("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)):
        sweep = Sweep.of(columns_of(split_at(trace), metric=metric))
        curve = sweep.curve(np.bincount(places, minlength=n).astype(np.int32))
        for tau, quality in zip(curve.threshold, curve.quality, strict=True):
            expected = judge(mixed(drawn, tau), streams(drawn)).score
            assert quality == pytest.approx(expected, abs=1e-9)


@given(queries=ANSWERED)
def test_phoneme_errors_are_the_edits_to_the_nearest_reference(
    make_trace: Callable[..., Trace], queries: Answered
) -> None:
    trace = trace_of(make_trace, queries)
    curve = deferral_curve(trace, metric="per")
    for tau, quality in zip(curve.threshold, curve.quality, strict=True):
        edits = length = 0
        for text, record in zip(mixed(trace, tau), trace.records, strict=True):
            options = [
                (recursive_distance(tuple(text.split()), tuple(r.split())), -len(r.split()))
                for r in record.references
            ]
            nearest = min(options)
            edits, length = edits + nearest[0], length - nearest[1]
        assert quality == pytest.approx(edits / max(length, 1))


@given(a=WORDS, b=WORDS)
def test_edit_distance_is_levenshteins(a: list[str], b: list[str]) -> None:
    assert edit_distance(a, b) == recursive_distance(tuple(a), tuple(b))


@cache
def recursive_distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """The definition, without a table."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return recursive_distance(a[1:], b[1:])
    return 1 + min(
        recursive_distance(a[1:], b),
        recursive_distance(a, b[1:]),
        recursive_distance(a[1:], b[1:]),
    )


def test_exact_match_is_strict_and_accuracy_forgives_case_and_space(
    make_trace: Callable[..., Trace],
) -> None:
    trace = trace_of(
        make_trace,
        [
            (0.9, ["Yes", "Aye"], " yes", "Yes"),
            (0.5, ["No"], "No", "no "),
            (0.1, ["Straße"], "STRASSE", "Strasse"),
        ],
    )
    assert deferral_curve(trace, metric="exact-match").quality == pytest.approx(
        [1 / 3, 2 / 3, 1 / 3, 1 / 3]
    )
    curve = deferral_curve(trace, metric="accuracy")
    assert curve.quality == pytest.approx([1, 1, 1, 1])
    assert curve.a1 == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert curve.a2 == pytest.approx([0, 1 / 3, 2 / 3, 1])
    # The trace's own flags say otherwise, and `recorded` believes them.
    assert deferral_curve(trace).quality == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_cost_at_an_error_rate_is_where_it_falls_that_low(make_trace: Callable[..., Trace]) -> None:
    trace = trace_of(make_trace, [(0.9, ["a b"], "x y", "a b"), (0.5, ["c d"], "c x", "c d")])
    curve = deferral_curve(trace, metric="per", cost="deferral_rate")
    assert curve.quality == pytest.approx([0.75, 0.25, 0.0])
    assert cost_at_quality(curve, 0.5) == pytest.approx(0.25)
    assert cost_at_quality(curve, 0.9) == 0.0
    assert cost_at_quality(curve, -0.1) is None


@pytest.mark.parametrize("metric", ["bleu", "chrf", "per"])
def test_the_oracle_of_a_corpus_metric_defers_what_gains_most(
    make_trace: Callable[..., Trace], metric: str
) -> None:
    rng = np.random.default_rng(5)
    words = np.array(["a", "b", "c", "d", "e", "f"])

    def answer(right: list[str], errors: int) -> str:
        text = list(right)
        for place in rng.integers(0, len(text), errors):
            text[place] = "x"
        return " ".join(text)

    queries: Answered = []
    for _ in range(60):
        right = words[rng.integers(0, 6, 8)].tolist()
        wrong = int(rng.integers(0, 5))
        score = float(rng.random())
        queries.append((score, [" ".join(right)], answer(right, wrong), answer(right, 1)))
    columns = columns_of(split_at(trace_of(make_trace, queries)), metric=metric)
    best, own = Sweep.of(oracle(columns)), Sweep.of(columns)
    rates = np.linspace(0.0, 1.0, 41)
    sign = columns.metric.sign
    curves = [
        np.interp(rates, s.curve().deferral_rate, sign * s.curve().quality) for s in (best, own)
    ]
    assert (curves[0] >= curves[1] - 1e-9).all()
    assert (curves[0] >= sign * own.ends().quality(rates) - 1e-9).all()
    assert curves[0].max() > curves[1].max()


def test_signatures_are_those_of_sacrebleu(make_trace: Callable[..., Trace]) -> None:
    one = trace_of(make_trace, [(0.1, ["a b"], "a", "b"), (0.2, ["c"], "c", "c")])
    several = trace_of(make_trace, [(0.1, ["a b", "a"], "a", "b"), (0.2, ["c"], "c", "c")])
    for name, judge in (("bleu", BLEU()), ("chrf", CHRF())):
        signature = METRICS[name].signature
        assert signature is not None
        for trace in (one, several):
            judge.corpus_score(mixed(trace, math.inf), streams(trace))
            assert signature(trace.records) == str(judge.get_signature())
    assert METRICS["per"].signature is None


def test_an_unknown_metric_and_missing_references_are_named(
    make_trace: Callable[..., Trace],
) -> None:
    trace = trace_of(make_trace, [(0.1, ["a"], "a", "b"), (0.2, ["c"], "c", "c")])
    with pytest.raises(
        SimulatorError,
        match=r"metric must be one of recorded, exact-match, .*; got 'blue'; did you mean 'bleu'\?",
    ):
        deferral_curve(trace, metric="blue")
    bare = msgspec.structs.replace(trace.records[0], references=[])
    with pytest.raises(SimulatorError, match="1 of 2 records have no references"):
        deferral_curve(trace._replace(records=[bare, trace.records[1]]), metric="chrf")
