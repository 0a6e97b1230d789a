"""Streams and verdicts, held against what can be: a server is another program."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

Reply = Callable[[Any, grpc.ServicerContext], Any]
END = pb.STOP_REASON_MAX_TOKENS
TOKENS = pb.TokenSequence(ids=[1, 2], tokenizer_fingerprint="f")


def message(sequence: int, offset: int, *ids: int, text: str = "", **fields: Any) -> Any:
    chunk = pb.TokenChunk(token_ids=ids, text=text, **fields)
    return pb.GenerateStreamResponse(sequence=sequence, token_offset=offset, chunk=chunk)


def final(request: Any, sequence: int, *ids: int, text: str = "") -> Any:
    response = pb.GenerateResponse(
        request_id=request.request.request_id, token_ids=ids, text=text, stop_reason=END
    )
    return pb.GenerateStreamResponse(sequence=sequence, token_offset=len(ids), final=response)


@pytest.fixture
def client(scripted_cloud: Any, jumping_clock: Any) -> Iterator[CloudClient]:
    client = CloudClient(scripted_cloud.address, clock=jumping_clock)
    client.knows("f", 9)
    yield client
    client.close()


def streamed(client: CloudClient) -> tuple[list[int], pb.GenerateResponse]:
    stream, ids = client.stream(pb.GenerateRequest(prompt=pb.Prompt(tokens=TOKENS))), list[int]()
    while True:
        try:
            ids += next(stream).token_ids
        except StopIteration as end:
            return ids, end.value


def test_a_stream_that_is_cut_is_asked_for_where_it_was(
    scripted_cloud: Any, client: CloudClient
) -> None:
    asked = []

    def reply(request: Any, context: grpc.ServicerContext) -> Any:
        asked.append(request)
        if len(asked) == 1:
            yield message(0, 0, 5, 6, text="a é")
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield message(0, 2, 7, text="!")
        yield final(request, 1, 5, 6, 7, text="a é!")

    scripted_cloud.streams = reply
    ids, response = streamed(client)
    assert ids == response.token_ids == [5, 6, 7]
    assert asked[0].request == asked[1].request
    assert not asked[0].HasField("resume_from")
    assert asked[0].keep_s == asked[1].keep_s == 5
    point = asked[1].resume_from
    assert (point.token_offset, point.text_offset) == (2, 3)
    assert point.token_crc32 == zlib.crc32(bytes([5, 0, 0, 0, 6, 0, 0, 0]))


WRONG: dict[str, Callable[[Any], list[Any]]] = {
    "a gap": lambda r: [message(0, 0, 5), message(1, 2, 7), final(r, 2, 5, 6, 7)],
    "a duplicate": lambda r: [message(0, 0, 5), message(1, 0, 5), final(r, 2, 5, 5)],
    "a message lost": lambda r: [message(0, 0, 5), message(2, 1, 6), final(r, 3, 5, 6)],
    "no end": lambda r: [message(0, 0, 5)],
    "other tokens at the end": lambda r: [message(0, 0, 5), final(r, 1, 6)],
    "other text at the end": lambda r: [message(0, 0, 5, text="a"), final(r, 1, 5, text="b")],
    "no token": lambda r: [message(0, 0, 9), final(r, 1, 9)],
    "no number": lambda r: [message(0, 0, 5, logprobs=[float("nan")]), final(r, 1, 5)],
    "one number for two": lambda r: [message(0, 0, 5, 6, logprobs=[-1.0]), final(r, 1, 5, 6)],
    "to another question": lambda r: [final(pb.GenerateStreamRequest(), 0)],
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_add_up_is_no_answer(
    scripted_cloud: Any, client: CloudClient, what: str
) -> None:
    scripted_cloud.streams = lambda request, context: iter(WRONG[what](request))
    with pytest.raises(CloudError) as caught:
        streamed(client)
    assert caught.value.reason == "BAD_ANSWER"


VERDICTS: dict[str, tuple[pb.VerifyResponse, bool]] = {
    "true": (
        pb.VerifyResponse(
            outcome=pb.DraftOutcome(accepted_count=1, correction_id=8, margin=0.5),
            logprobs=[-1.0, -2.0],
        ),
        True,
    ),
    "more than the draft": (
        pb.VerifyResponse(outcome=pb.DraftOutcome(accepted_count=3), logprobs=[-1.0, -2.0]),
        False,
    ),
    "no token": (
        pb.VerifyResponse(outcome=pb.DraftOutcome(correction_id=9), logprobs=[-1.0, -2.0]),
        False,
    ),
    "too few numbers": (pb.VerifyResponse(logprobs=[-1.0]), False),
    "no log-probability": (pb.VerifyResponse(logprobs=[-1.0, 2.0]), False),
    "on another draft": (pb.VerifyResponse(request_id="other", logprobs=[-1.0, -2.0]), False),
}


@pytest.mark.parametrize("what", VERDICTS)
def test_a_verdict_is_on_this_draft_or_none(
    scripted_cloud: Any, client: CloudClient, what: str
) -> None:
    said, believed = VERDICTS[what]

    def reply(request: Any, context: grpc.ServicerContext) -> Any:
        verdict = pb.VerifyResponse(request_id=request.request_id)
        verdict.MergeFrom(said)
        return verdict

    scripted_cloud.judges = reply
    request = pb.VerifyRequest(prompt=pb.Prompt(text="x"), draft=pb.Draft(tokens=TOKENS))
    if believed:
        assert client.verify(request).outcome.accepted_count == 1
        return
    with pytest.raises(CloudError) as caught:
        client.verify(request)
    assert caught.value.reason == "BAD_ANSWER"
