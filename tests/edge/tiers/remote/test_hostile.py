"""A server that says anything at all: a query is answered or degraded, its record can be read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalade.edge import EdgeClient
from escalade.edge.errors import CloudError
from escalade.edge.trace import read_trace
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

ALWAYS = -1.0
MakeClient = Callable[..., EdgeClient]

UINTS = st.integers(0, 9) | st.integers(0, (1 << 32) - 1)
LONGS = st.integers(0, 9) | st.integers(0, (1 << 64) - 1)
TEXTS = st.text(max_size=4) | st.just("\x1b[2J")
# What may be is drawn as often as what may not, or nothing would come through.
SECONDS = st.floats(0, 9) | st.floats()
LOGPROBS = st.floats(-9, 0, width=32) | st.floats(width=32)


def message(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields).map(lambda found: kind(**found))


MODELS = message(pb.ModelIdentity, name=TEXTS, revision=TEXTS, tokenizer_fingerprint=TEXTS)
MEMBERS = message(
    pb.MemberReport,
    model=MODELS,
    parameter_count=LONGS,
    prompt_tokens=UINTS,
    generated_tokens=UINTS,
    seconds=SECONDS,
)
REPORTS = message(
    pb.TierReport,
    tier=TEXTS,
    place=st.integers(0, 9),
    members=st.lists(MEMBERS, max_size=3),
    rule=TEXTS,
    score=st.floats(),
    threshold=SECONDS,
    seconds=SECONDS,
    reason=TEXTS,
)
ANSWERS = message(
    pb.GenerateResponse,
    model=MODELS,
    token_ids=st.lists(UINTS, max_size=3),
    logprobs=st.lists(LOGPROBS, max_size=4),
    text=TEXTS,
    stop_reason=st.integers(0, 4) | st.integers(0, 9),
    usage=message(pb.Usage, prompt_tokens=UINTS, generated_tokens=UINTS),
    timing=message(pb.Timing, queue_s=SECONDS, compute_s=SECONDS),
    draft_outcome=message(pb.DraftOutcome, accepted_count=UINTS, margin=LOGPROBS),
    reports=st.lists(REPORTS, max_size=3),
    degraded=st.booleans(),
)
INFOS = message(
    pb.GetModelInfoResponse,
    model=MODELS,
    parameter_count=LONGS,
    vocabulary_size=UINTS,
    tiers=st.lists(
        message(pb.TierDescription, tier=TEXTS, members=st.lists(MEMBERS, max_size=2)), max_size=2
    ),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(answer=ANSWERS, info=INFOS)
def test_whatever_it_says_no_query_is_lost(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path, answer: Any, info: Any
) -> None:
    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        answer.request_id = request.request_id
        return answer  # type: ignore[no-any-return]

    scripted_cloud.replies, scripted_cloud.info = [reply], info
    trace = tmp_path / "trace.jsonl"
    trace.unlink(missing_ok=True)
    with make_client(ALWAYS, trace=trace) as client:
        said = client.ask("g2p: cat")
    assert said.outcome in {"deferred", "degraded"}
    if said.trace_error is None:
        assert [one.outcome for one in read_trace(trace).records] == [said.outcome]


CANNOT_BE: dict[str, tuple[dict[str, Any], str]] = {
    "a token of no tokenizer": ({"token_ids": [1 << 20]}, r"token id 1048576, its tokenizer has 0"),
    "a token of a tokenizer that it does not name": (
        {"token_ids": [1 << 20], "model": pb.ModelIdentity()},
        r"token id 1048576, its tokenizer has 0",
    ),
    "a threshold of none": (
        {"reports": [pb.TierReport(tier="a", threshold=math.nan)]},
        "a threshold of its tiers is no finite number",
    ),
    "a name that steers": (
        {"reports": [pb.TierReport(tier="\x1b[2J")]},
        r"a name of at most 256 printable characters, got '\\x1b\[2J'",
    ),
    "a revision without end": (
        {"model": pb.ModelIdentity(name="x", revision="x" * 999)},
        "a name of at most 256",
    ),
    "a name without end": ({"model": pb.ModelIdentity(name="x" * 999)}, "a name of at most 256"),
    "more of a draft than was sent": (
        {"draft_outcome": pb.DraftOutcome(accepted_count=1000)},
        "what it says of the draft cannot be",
    ),
}


@pytest.mark.parametrize("case", CANNOT_BE)
def test_what_cannot_be_is_named(make_client: MakeClient, scripted_cloud: Any, case: str) -> None:
    fields, says = CANNOT_BE[case]
    client = make_client(ALWAYS)
    fingerprint = client.cascade.tiers[0].opened[0].fingerprint
    scripted_cloud.says(**{"model": pb.ModelIdentity(tokenizer_fingerprint=fingerprint), **fields})
    answer = client.ask("g2p: cat")
    assert answer.outcome == "degraded"
    assert answer.reason is not None
    assert re.search(says, answer.reason)


def test_more_than_was_asked_for(make_client: MakeClient, scripted_cloud: Any) -> None:
    from escalade.edge import Query

    scripted_cloud.says(token_ids=[1, 2, 3])
    answer = make_client(ALWAYS).ask(Query(text="g2p: cat", max_new_tokens=2))
    assert answer.reason is not None
    assert answer.reason.endswith("3 tokens, at most 2 were asked for")


@pytest.fixture
def babbler() -> Iterator[str]:
    """A gRPC server whose messages are no messages."""

    class Babble(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff" * 9)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Babble(),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield address
    server.stop(None).wait()


def test_bytes_that_are_no_message(babbler: str, make_client: MakeClient) -> None:
    assert make_client(ALWAYS, address=babbler).ask("g2p: cat").outcome == "degraded"
    client = CloudClient(babbler)
    with pytest.raises(CloudError, match="INTERNAL"):
        client.model_info()
    client.close()
