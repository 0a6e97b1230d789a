"""What travels between a server and its engine arrives as it was, however it is cut."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud import errors
from escalade.cloud.backends import (
    Answer,
    BackendInfo,
    Delta,
    Gauge,
    Query,
    Sampling,
    ScoreQuery,
    Scores,
    TopRow,
    Verdict,
)
from escalade.cloud.backends.process import messages as m
from escalade.cloud.backends.process.messages import Kind, Messages, Plain
from escalade.v1 import cascade_pb2 as pb

IDENTITY = pb.ModelIdentity(name="large", revision="r", tokenizer_fingerprint="f")
ids = st.lists(st.integers(0, 1 << 20), max_size=9)
logprobs = st.lists(st.floats(max_value=0.0, allow_nan=False), max_size=9)
texts = st.text(max_size=9)
rows = st.lists(st.builds(TopRow, st.binary(max_size=8), st.binary(max_size=8)), max_size=3)

drafts = st.builds(
    lambda given, text: pb.Draft(tokens=pb.TokenSequence(ids=given), text=text), ids, texts
)
samplings = st.builds(
    Sampling, st.floats(0.1, 9), st.integers(0, 9), st.floats(0.1, 1), st.integers(0, (1 << 64) - 1)
)
queries = st.builds(
    Query,
    ids.map(tuple),
    st.integers(1, 99),
    st.lists(texts).map(tuple),
    prompt_text=texts,
    draft=st.none() | drafts,
    via=st.lists(texts).map(tuple),
    streamed=st.booleans(),
    sampling=st.none() | samplings,
    top_logprobs=st.integers(0, 5),
)
answers = st.builds(
    Answer,
    token_ids=ids,
    logprobs=logprobs,
    margins=logprobs,
    end_id=st.none() | st.integers(0, 9),
    text=texts,
    stop_reason=st.sampled_from(pb.StopReason.values()),
    prompt_tokens=st.integers(0, 99),
    generated_tokens=st.integers(0, 99),
    draft_ids=ids,
    lenient=st.none() | st.integers(0, 9),
    reports=st.just((pb.TierReport(tier="cloud", seconds=0.5),)),
    model=st.none() | st.just(IDENTITY),
    top=rows,
)
deltas = st.builds(Delta, ids, logprobs, texts, st.none() | answers, rows)
verdicts = st.builds(
    Verdict,
    st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.floats(0, 9),
    logprobs,
    lenient=st.none() | st.integers(0, 9),
    prompt_tokens=st.integers(0, 99),
    cached_prompt_tokens=st.integers(0, 99),
    queue_s=st.floats(0, 9),
    compute_s=st.floats(0, 9),
)


def arrived(kind: Kind, number: int, *content: object, cut: int = 1 << 20) -> list[Plain]:
    """The one message that was sent, in pieces of so many bytes."""
    data = m.message(kind, number, *content)
    reader = Messages()
    come = [one for at in range(0, len(data), cut) for one in reader.feed(data[at : at + cut])]
    [(got_kind, got_number, got)] = come
    assert (got_kind, got_number) == (kind, number)
    return got


@given(queries, st.integers(1, 7))
def test_queries_arrive(query: Query, cut: int) -> None:
    assert m.query_of(arrived(Kind.GENERATE, 3, query, cut=cut)[0]) == query


@given(deltas)
def test_deltas_arrive(delta: Delta) -> None:
    assert m.delta_of(arrived(Kind.DELTA, 1, delta)[0]) == delta


@given(verdicts)
def test_verdicts_arrive(verdict: Verdict) -> None:
    assert m.verdict_of(arrived(Kind.VERDICT, 1, verdict)[0]) == verdict


@given(st.lists(deltas, max_size=5), st.integers(1, 40))
def test_messages_are_cut_where_they_end(sent: list[Delta], cut: int) -> None:
    data = b"".join(m.message(Kind.DELTA, k + 1, one) for k, one in enumerate(sent))
    reader = Messages()
    come = [one for at in range(0, len(data), cut) for one in reader.feed(data[at : at + cut])]
    assert [number for _, number, _ in come] == [*range(1, len(sent) + 1)]
    assert [m.delta_of(content[0]) for _, _, content in come] == sent


def test_scores_and_their_queries_arrive() -> None:
    asked = [ScoreQuery((1, 2), (3,)), ScoreQuery((4,), (5, 6))]
    queries, top_k = arrived(Kind.SCORE, 1, asked, 2)
    assert m.score_queries_of(queries) == asked
    assert top_k == 2
    scores = Scores(
        np.array([3], np.int32),
        np.array([-0.5], np.float32),
        np.array([[3, 4]], np.int32),
        np.array([[-0.5, -2.0]], np.float32),
    )
    [got] = m.scores_of(arrived(Kind.SCORES, 1, [scores])[0])
    for name in ("argmax", "response_logprobs", "top_ids", "top_logprobs"):
        array, expected = getattr(got, name), getattr(scores, name)
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)


def test_what_a_backend_is_arrives() -> None:
    info = BackendInfo(
        model=IDENTITY,
        engine="transformers 5",
        parameter_count=7,
        vocabulary_size=9,
        context_length=64,
        end_of_sequence_ids=(0, 2),
        max_new_tokens=64,
        longest_token_bytes=12,
        capabilities=(pb.CAPABILITY_GENERATE, pb.CAPABILITY_SCORE),
        tiers=(pb.TierDescription(tier="cloud", place=pb.PLACE_CLOUD),),
    )
    gauges = [Gauge("batch_size", "Sequences.", 3.0)]
    got = arrived(Kind.READY, 0, info, 64)
    assert (m.info_of(got[0]), got[1]) == (info, 64)
    assert m.gauges_of(arrived(Kind.PULSE, 0, True, gauges)[1]) == gauges


ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ServeError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_arrives(kind: type[errors.ServeError]) -> None:
    count = len(inspect.signature(kind).parameters) if "__init__" in vars(kind) else 1
    if issubclass(kind, errors.FieldError):
        error: errors.ServeError = kind("prompt.text", "must be short")
    elif issubclass(kind, errors.ComeBackError):
        error = kind("queue: full", 0.25)
    else:
        error = kind(*["engine: failed"][:count])
    got = m.error_of(arrived(Kind.REFUSED, 1, error)[0])
    assert type(got) is kind
    assert (str(got), vars(got)) == (str(error), vars(error))
