"""What a server answers, held against what can be; and calls that are given up."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.edge.wire.sending import CloudAnswer
from escalade.v1 import cascade_pb2 as pb


@pytest.fixture
def client(scripted_cloud: Any, jumping_clock: Any) -> Iterator[CloudClient]:
    client = CloudClient(scripted_cloud.address, clock=jumping_clock)
    yield client
    client.close()


def ask(client: CloudClient, **options: Any) -> CloudAnswer | None:
    return client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="g2p: cat")), **options)


def report(**fields: Any) -> pb.TierReport:
    return pb.TierReport(tier="near", **fields)


NOT_OURS = "the answer is not to this question"
LOGPROB = "a log-probability of the answer is above 0 or no number"
TIMES = "its times are negative or no numbers"

CANNOT_BE: list[tuple[dict[str, Any], str]] = [
    ({"request_id": "another"}, NOT_OURS),
    ({"stop_reason": pb.STOP_REASON_DEADLINE}, NOT_OURS),
    ({"stop_reason": pb.STOP_REASON_CANCELLED}, NOT_OURS),
    ({"token_ids": [1], "logprobs": [math.nan]}, LOGPROB),
    ({"token_ids": [1], "logprobs": [0.1]}, LOGPROB),
    ({"token_ids": [1], "logprobs": [math.inf]}, LOGPROB),
    ({"token_ids": [1, 2], "logprobs": [-1.0]}, "1 log-probability for 2 tokens"),
    ({"token_ids": [1], "logprobs": [-1.0] * 3}, "3 log-probabilities for 1 token"),
    ({"timing": pb.Timing(queue_s=-1.0)}, TIMES),
    ({"timing": pb.Timing(compute_s=math.nan)}, TIMES),
    ({"timing": pb.Timing(queue_s=math.inf)}, TIMES),
    ({"timing": pb.Timing(queue_s=1e308, compute_s=1e308)}, TIMES),  # their sum is no number
    ({"reports": [report(seconds=-0.1)]}, TIMES),
    ({"reports": [report(members=[pb.MemberReport(seconds=math.nan)])]}, TIMES),
]


@pytest.mark.parametrize(("fields", "says"), CANNOT_BE)
def test_an_answer_that_cannot_be_is_refused(
    scripted_cloud: Any, client: CloudClient, fields: dict[str, Any], says: str
) -> None:
    scripted_cloud.says(**fields)
    with pytest.raises(CloudError) as caught:
        ask(client)
    assert caught.value.reason == "BAD_ANSWER"
    assert str(caught.value) == f"BAD_ANSWER: {client.address}: {says}"


def test_an_answer_without_a_reason_to_stop_is_none(
    scripted_cloud: Any, client: CloudClient
) -> None:
    scripted_cloud.replies = [lambda request, _: pb.GenerateResponse(request_id=request.request_id)]
    with pytest.raises(CloudError, match="BAD_ANSWER"):
        ask(client)


WELL: list[dict[str, Any]] = [
    {"token_ids": [1, 2], "logprobs": [-1.0, -2.0]},
    {"token_ids": [1, 2], "logprobs": [-1.0, -2.0, 0.0]},  # the end-of-sequence token's too
    {"token_ids": [1], "logprobs": [1e-6]},  # rounded up from 0 in float32
    {"token_ids": [1], "logprobs": [-math.inf]},
    {"token_ids": [1, 2]},  # nobody asked for them
    {"stop_reason": pb.STOP_REASON_CONTEXT_LIMIT},
    {"reports": [report(score=math.nan, seconds=1.0)]},  # a broken model's, which defers
]


@pytest.mark.parametrize("fields", WELL)
def test_an_answer_that_can_be_is_taken(
    scripted_cloud: Any, client: CloudClient, fields: dict[str, Any]
) -> None:
    scripted_cloud.says(**fields)
    answer = ask(client)
    assert answer is not None
    assert answer.response.text == "large answer"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    logprobs=st.lists(st.floats(width=32), max_size=3),
    tokens=st.integers(0, 3),
    queue_s=st.floats(),
    stop=st.sampled_from(sorted(pb.StopReason.values())),
)
def test_whatever_numbers_come_an_answer_is_taken_or_a_cloud_error(
    scripted_cloud: Any,
    client: CloudClient,
    logprobs: list[float],
    tokens: int,
    queue_s: float,
    stop: pb.StopReason,
) -> None:
    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        return pb.GenerateResponse(
            request_id=request.request_id,
            token_ids=range(tokens),
            logprobs=logprobs,
            stop_reason=stop,
            timing=pb.Timing(queue_s=queue_s),
        )

    scripted_cloud.replies = [reply]
    can_be = (
        stop in {1, 2, 3, 4}
        and all(value <= 1e-5 for value in logprobs)
        and (not logprobs or len(logprobs) in {tokens, tokens + 1})
        and 0 <= queue_s < math.inf
    )
    if can_be:
        assert ask(client) is not None
    else:
        with pytest.raises(CloudError, match="BAD_ANSWER"):
            ask(client)


def test_a_call_that_is_given_up_is_cancelled_at_the_server(
    scripted_cloud: Any, client: CloudClient
) -> None:
    arrived, gone = threading.Event(), threading.Event()

    def stall(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        context.add_callback(gone.set)
        arrived.set()
        gone.wait(30)
        return pb.GenerateResponse()

    scripted_cloud.replies = [stall]
    assert ask(client, cancelled=arrived.is_set) is None
    assert gone.wait(30)


def unavailable(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_nobody_wants_any_more_is_not_sent(
    scripted_cloud: Any, client: CloudClient, before: int
) -> None:
    scripted_cloud.replies = [unavailable]
    given_up: Callable[[], bool] = lambda: len(scripted_cloud.asked) == before  # noqa: E731
    assert ask(client, cancelled=given_up) is None
    assert len(scripted_cloud.asked) == before


def test_a_deadline_of_its_own_is_the_calls(scripted_cloud: Any, client: CloudClient) -> None:
    ask(client)
    ask(client, deadline_s=2.5)
    first_s, second_s = scripted_cloud.left_s  # gRPC rounds a deadline up
    assert 5 < first_s < 11
    assert 1 < second_s < 3
    scripted_cloud.replies = [unavailable]
    # On a busy machine the last attempt may end with the deadline.
    ends = r"UNAVAILABLE: cloud .*: draining|DEADLINE_EXCEEDED: cloud .*: no answer within 0\.5 s"
    with pytest.raises(CloudError, match=ends):
        ask(client, deadline_s=0.5)


@pytest.mark.parametrize(
    "info",
    [
        pb.GetModelInfoResponse(),
        pb.GetModelInfoResponse(parameter_count=3),
        pb.GetModelInfoResponse(model=pb.ModelIdentity(name="x")),
    ],
)
def test_a_server_says_who_it_is(
    scripted_cloud: Any, client: CloudClient, info: pb.GetModelInfoResponse
) -> None:
    assert client.model_info().model.name == "scripted-large"
    scripted_cloud.info = info
    with pytest.raises(CloudError, match="BAD_ANSWER: .* GetModelInfo names no model"):
        client.model_info()
