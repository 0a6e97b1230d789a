"""A stream of scores that breaks off, hangs or is not as agreed; on a real socket."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay import relay_to

from escalade.edge.errors import CloudError
from escalade.training.errors import TeacherError
from escalade.training.teachers.cloud_scorer import CloudScorer
from escalade.training.teachers.score_stream import TokenScores, read_scores
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc
from escalade.v1 import channel

Play = Callable[[pb.ScoreRequest, grpc.ServicerContext], Iterator[pb.ScoreResponse]]
MODEL = pb.ModelIdentity(name="played", revision="r", tokenizer_fingerprint="f")
INFO = pb.GetModelInfoResponse(
    model=MODEL,
    vocabulary_size=99,
    parameter_count=1,
    max_top_k=9,
    capabilities=[pb.CAPABILITY_SCORE],
)


def chunk_of(request: pb.ScoreRequest, index: int, start: int, end: int) -> pb.ScoreChunk:
    """Scores that name the item they are for: its first response token."""
    ids = request.items[index].response.ids[start:end]
    k = request.top_k

    def tensor(values: Sequence[float], shape: Sequence[int], kind: pb.DataType) -> pb.Tensor:
        numpy_kind = "<i4" if kind == pb.DATA_TYPE_INT32 else "<f4"
        return pb.Tensor(data=np.array(values, numpy_kind).tobytes(), shape=shape, dtype=kind)

    n = len(ids)
    top = [[token + j for j in range(k)] for token in ids]
    return pb.ScoreChunk(
        item_index=index,
        token_offset=start,
        argmax=tensor(ids, [n], pb.DATA_TYPE_INT32),
        response_logprobs=tensor([-token for token in ids], [n], pb.DATA_TYPE_FLOAT32),
        top_ids=tensor(top, [n, k], pb.DATA_TYPE_INT32) if k else None,
        top_logprobs=tensor(-np.array(top) - 1.0, [n, k], pb.DATA_TYPE_FLOAT32) if k else None,
    )


def good_messages(request: pb.ScoreRequest, step: int = 2) -> list[pb.ScoreResponse]:
    """A whole stream, `step` tokens to a chunk."""
    chunks = [
        chunk_of(request, index, start, start + step)
        for index in range(request.resume_from, len(request.items))
        for start in range(0, len(request.items[index].response.ids), step)
    ]
    messages = [pb.ScoreResponse(sequence=n, chunk=chunk) for n, chunk in enumerate(chunks)]
    final = pb.ScoreSummary(model=MODEL, items=len(request.items) - request.resume_from)
    return [*messages, pb.ScoreResponse(sequence=len(messages), final=final)]


@dataclass
class Played(pb_grpc.CascadeServiceServicer):
    """Plays `plays` in turn, then answers well; remembers where it was asked to resume."""

    plays: list[Play] = field(default_factory=list)
    resumed_from: list[int] = field(default_factory=list)
    address: str = ""

    def Score(
        self, request: pb.ScoreRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ScoreResponse]:
        self.resumed_from.append(request.resume_from)
        assert request.expected_model == MODEL
        if self.plays:
            return self.plays.pop(0)(request, context)
        return iter(good_messages(request))

    def GetModelInfo(
        self, request: pb.GetModelInfoRequest, context: grpc.ServicerContext
    ) -> pb.GetModelInfoResponse:
        return INFO


@pytest.fixture
def played() -> Iterator[Played]:
    cloud = Played()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=2), options=channel.server_options()
    )
    pb_grpc.add_CascadeServiceServicer_to_server(cloud, server)
    cloud.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield cloud
    server.stop(None).wait()


@pytest.fixture
def scorer(played: Played, jumping_clock: Any) -> Iterator[Callable[..., CloudScorer]]:
    """Makes scorers of the played cloud, on a clock that jumps, closed at the end."""
    made: list[CloudScorer] = []

    def make(**options: Any) -> CloudScorer:
        options = {"clock": jumping_clock, "rng": random.Random(1), **options}
        made.append(CloudScorer(played.address, tokenizer_fingerprint="f", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def breaks_after(messages: int, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> Play:
    def play(request: pb.ScoreRequest, context: grpc.ServicerContext) -> Iterator[pb.ScoreResponse]:
        yield from good_messages(request)[:messages]
        context.abort(code, "as the test asked")

    return play


LONG_ITEMS = [([1], [10 + 5 * n, 11 + 5 * n, 12 + 5 * n]) for n in range(6)]


def test_nothing_received_whole_is_asked_again(
    scorer: Any, played: Played, jumping_clock: Any
) -> None:
    # Two chunks an item: after 5 messages two items are whole and the third has begun.
    played.plays = [breaks_after(5), breaks_after(0), breaks_after(2), breaks_after(6)]
    scores = list(scorer().score(LONG_ITEMS, top_k=2))
    assert [found.argmax.tolist() for found in scores] == [y for _, y in LONG_ITEMS]
    # The last break came between the last item and the summary.
    assert played.resumed_from == [0, 2, 2, 3, 6]
    assert len(jumping_clock.slept) == 4


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_what_may_pass_is_tried_again(scorer: Any, played: Played, code: grpc.StatusCode) -> None:
    played.plays = [breaks_after(2, code)]
    assert len(list(scorer().score(LONG_ITEMS, top_k=0))) == 6
    assert played.resumed_from == [0, 1]


def test_a_stream_that_dies_in_silence_is_opened_again(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PING_AFTER_S", 0.05)
    monkeypatch.setattr(channel, "PONG_WITHIN_S", 0.2)
    go_on = threading.Event()

    def hold(request: pb.ScoreRequest, context: grpc.ServicerContext) -> Iterator[pb.ScoreResponse]:
        yield from good_messages(request)[:4]
        go_on.wait(30)

    played.plays = [hold]
    with relay_to(played.address) as relay:
        scorer = CloudScorer(relay.address, tokenizer_fingerprint="f", deadline_s=30)
        stream = scorer.score(LONG_ITEMS, top_k=2)
        found = [next(stream), next(stream)]
        relay.forget()
        found += stream
        go_on.set()
        assert [one.argmax.tolist() for one in found] == [y for _, y in LONG_ITEMS]
        assert played.resumed_from == [0, 2]
        assert relay.dialled == 2
        scorer.close()


def test_what_cannot_pass_is_final(scorer: Any, played: Played) -> None:
    played.plays = [breaks_after(2, grpc.StatusCode.INTERNAL)]
    stream = scorer().score(LONG_ITEMS, top_k=0)
    next(stream)
    with pytest.raises(TeacherError, match=r"INTERNAL: cloud .*as the test asked \(1 attempt\)"):
        next(stream)
    assert played.resumed_from == [0]


def test_it_gives_up_when_nothing_comes(scorer: Any, played: Played, jumping_clock: Any) -> None:
    # One item, half of the next, and never more than that half again.
    played.plays = [breaks_after(3), *[breaks_after(1)] * 99]
    stream = scorer(deadline_s=20).score(LONG_ITEMS, top_k=0)
    next(stream)
    with pytest.raises(TeacherError, match=r"UNAVAILABLE: cloud .*as the test asked \(\d+ att"):
        next(stream)
    assert set(played.resumed_from[1:]) == {1}
    assert 15 < sum(jumping_clock.slept) < 20


def test_the_callers_own_time_does_not_count(
    scorer: Any, played: Played, jumping_clock: Any
) -> None:
    played.plays = [breaks_after(2) for _ in LONG_ITEMS]
    found = []
    for scores in scorer().score(LONG_ITEMS, top_k=0):
        found.append(scores)
        jumping_clock.offset_s += 1000.0
    assert len(found) == 6


def test_a_server_that_hangs_is_left(scorer: Any, played: Played) -> None:
    release = threading.Event()

    def hang(request: pb.ScoreRequest, context: grpc.ServicerContext) -> Iterator[pb.ScoreResponse]:
        yield from good_messages(request)[:2]
        release.wait(60)

    played.plays = [hang, hang]
    stream = scorer(deadline_s=0.3).score(LONG_ITEMS, top_k=0)
    next(stream)
    try:
        with pytest.raises(TeacherError, match=r"DEADLINE_EXCEEDED: .*no answer within 0.3 s"):
            list(stream)
    finally:
        release.set()


def test_a_closed_iterator_ends_the_stream(scorer: Any, played: Played) -> None:
    ended = threading.Event()

    def wait(request: pb.ScoreRequest, context: grpc.ServicerContext) -> Iterator[pb.ScoreResponse]:
        context.add_callback(ended.set)
        yield from good_messages(request)[:2]
        ended.wait(60)

    played.plays = [wait]
    stream = scorer().score(LONG_ITEMS, top_k=0)
    next(stream)
    stream.close()
    assert ended.wait(60)


# What a stream must be.


def request_of(lengths: Sequence[int], top_k: int = 2, resume_from: int = 0) -> pb.ScoreRequest:
    items = [
        pb.ScoreItem(response=pb.TokenSequence(ids=range(10 * n, 10 * n + length)))
        for n, length in enumerate(lengths)
    ]
    return pb.ScoreRequest(items=items, top_k=top_k, resume_from=resume_from)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    step=st.integers(1, 9),
    top_k=st.integers(0, 3),
    data=st.data(),
)
def test_chunks_of_any_length_are_put_together(
    lengths: list[int], step: int, top_k: int, data: st.DataObject
) -> None:
    request = request_of(lengths, top_k, data.draw(st.integers(0, len(lengths))))
    found = list(read_scores(good_messages(request, step), request, INFO))
    expected = [list(item.response.ids) for item in request.items[request.resume_from :]]
    assert [scores.argmax.tolist() for scores in found] == expected
    for scores, ids in zip(found, expected, strict=True):
        assert scores.response_logprobs.tolist() == [-token for token in ids]
        top = [[token + j for j in range(top_k)] for token in ids]
        assert scores.top_ids.tolist() == top
        assert scores.top_logprobs.tolist() == [[-token - 1.0 for token in row] for row in top]


def tensor_change(name: str, **fields: Any) -> Callable[[list[pb.ScoreResponse]], None]:
    def change(messages: list[pb.ScoreResponse]) -> None:
        tensor = getattr(messages[1].chunk, name)
        for key, value in fields.items():
            if key == "shape":
                del tensor.shape[:]
                tensor.shape.extend(value)
            else:
                setattr(tensor, key, value)

    return change


def values(name: str, found: Any, kind: str = "<f4") -> Callable[[list[pb.ScoreResponse]], None]:
    return tensor_change(name, data=np.array(found, kind).tobytes())


# Items of 2 and 3 tokens, 2 tokens to a chunk: item 0, item 1, rest of item 1, summary.
SPOILT: dict[str, tuple[Callable[[list[pb.ScoreResponse]], Any], str]] = {
    "a gap": (lambda m: setattr(m[1], "sequence", 2), "message 1 is numbered 2"),
    "an empty message": (lambda m: m[0].ClearField("chunk"), "message 0 is empty"),
    "a lost item": (lambda m: setattr(m[0].chunk, "item_index", 1), "item 1 came, 0 is due"),
    "a repeated item": (lambda m: setattr(m[1].chunk, "item_index", 0), "item 0 came, 1 is due"),
    "a lost token": (lambda m: setattr(m[2].chunk, "token_offset", 1), "token 1 came, 2 is due"),
    "no argmax": (lambda m: m[0].chunk.ClearField("argmax"), "argmax: 0 tokens from 0 on"),
    "too many tokens": (lambda m: m[2].chunk.argmax.shape.__setitem__(0, 2), "argmax: 2 tokens"),
    "another type": (
        tensor_change("argmax", dtype=pb.DATA_TYPE_FLOAT32),
        "argmax: DATA_TYPE_FLOAT32, must be DATA_TYPE_INT32",
    ),
    "a type of the future": (tensor_change("argmax", dtype=77), "argmax: 77, must be"),
    "half a tensor": (
        tensor_change("response_logprobs", data=b"1234"),
        "response_logprobs: 4 bytes, must be 8",
    ),
    "another k": (
        tensor_change("top_ids", shape=[2, 3]),
        r"top_ids: shape \(2, 3\), must be \(2, 2\)",
    ),
    "no top": (lambda m: m[0].chunk.ClearField("top_logprobs"), "top_logprobs: .*must be"),
    "no summary": (lambda m: m.pop(), "ended without its summary"),
    "an early summary": (
        lambda m: (m.pop(2), setattr(m[2], "sequence", 2)),
        "1 of 2 items came whole",
    ),
    "a wrong count": (lambda m: setattr(m[3].final, "items", 3), "counts 3 items, not 2"),
    "another model": (lambda m: setattr(m[3].final.model, "name", "x"), "'x' signed, not 'played'"),
    "a token that there is not": (values("argmax", [9, 99], "<i4"), r"argmax: must be in 0\.\.98"),
    "a negative token": (values("argmax", [-1, 3], "<i4"), r"argmax: must be in 0\.\.98"),
    "a top token that there is not": (
        values("top_ids", [[1, 2], [3, 1 << 30]], "<i4"),
        r"top_ids: must be in 0\.\.98",
    ),
    "a top token twice": (values("top_ids", [[1, 2], [3, 3]], "<i4"), "top_ids: a token .*twice"),
    "no number": (
        values("response_logprobs", [-1.0, np.nan]),
        "response_logprobs: above 0 or no number",
    ),
    "more than certain": (values("response_logprobs", [0.1, -1.0]), "response_logprobs: above 0"),
    "an infinite certainty": (values("response_logprobs", [np.inf, -1]), "response_logprobs: abov"),
    "no number at the top": (
        values("top_logprobs", [[-1.0, -2.0], [-1.0, np.nan]]),
        "top_logprobs: above 0 or no number",
    ),
    "worst first": (values("top_logprobs", [[-2, -1], [-1, -2]]), "top_logprobs: .*best first"),
    "two certainties": (values("top_logprobs", [[0, 0], [-1, -2]]), "more than all there is"),
    "a second summary": (
        lambda m: m.append(pb.ScoreResponse(sequence=4, final=m[3].final)),
        "follows the summary",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_stream_that_is_not_as_agreed_is_refused(case: str) -> None:
    request = request_of([2, 3])
    messages = good_messages(request)
    spoil, said = SPOILT[case]
    spoil(messages)
    with pytest.raises(CloudError, match=f"BAD_ANSWER: scores: .*{said}"):
        list(read_scores(messages, request, INFO))


def test_a_bad_answer_reaches_the_caller_as_its_own_kind_of_error(
    scorer: Any, played: Played
) -> None:
    played.plays = [lambda request, context: iter(good_messages(request)[1:])]
    with pytest.raises(TeacherError, match="teacher 'played': BAD_ANSWER: scores: message 0"):
        list(scorer().score(LONG_ITEMS, top_k=0))


def test_scores_of_nothing(scorer: Any, played: Played) -> None:
    found: list[TokenScores] = list(scorer().score([], top_k=0))
    assert found == []
    assert played.resumed_from == []


def test_a_request_is_cut_where_its_tokens_fill_a_message(scorer: Any, played: Played) -> None:
    items = [([1] * 500_000, [10])] * 10
    assert len(list(scorer().score(items, top_k=0))) == 10
    assert played.resumed_from == [0] * 3
