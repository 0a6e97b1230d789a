"""The cloud client on a real socket: retries, refusals, deadlines, garbage."""

from __future__ import annotations

import math
import random
import re
import socket
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from escalade.edge.base import SystemClock
from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.edge.wire.sending import CloudAnswer
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

PROMPT = pb.Prompt(text="g2p: cascade")


def ask(client: CloudClient, **options: Any) -> CloudAnswer:
    answer = client.generate(pb.GenerateRequest(prompt=PROMPT), **options)
    assert answer is not None
    return answer


@pytest.fixture
def client(scripted_cloud: Any, jumping_clock: Any) -> Any:
    client = CloudClient(scripted_cloud.address, clock=jumping_clock, rng=random.Random(1))
    yield client
    client.close()


def unavailable(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
    raise AssertionError("abort raises")


def test_an_answer_and_what_it_cost(scripted_cloud: Any, client: CloudClient) -> None:
    answer = ask(client)
    assert answer.response.text == "large answer"
    assert (answer.attempts, answer.draft_bytes) == (1, 0)
    assert answer.bytes_up == scripted_cloud.asked[0].ByteSize()
    assert answer.bytes_down > len("large answer")
    assert answer.round_trip_s > 0


def cancelled(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.CANCELLED, "a server that ends cuts what came too late")


def cut(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.cancel()


@pytest.mark.parametrize("failing", [unavailable, cancelled, cut])
@pytest.mark.parametrize("watched", [False, True])
def test_what_may_pass_is_tried_again_with_the_same_id(
    scripted_cloud: Any, client: CloudClient, jumping_clock: Any, failing: Any, watched: bool
) -> None:
    scripted_cloud.replies = [failing, failing, *scripted_cloud.replies]
    options = {"cancelled": lambda: False} if watched else {}
    assert ask(client, **options).attempts == 3
    assert len({request.request_id for request in scripted_cloud.asked}) == 1
    # Full jitter: each wait lies under its ceiling of 0.1 s, 0.2 s, ...
    waits = jumping_clock.slept
    assert len(waits) == 2
    assert all(0 <= wait <= 0.1 * 2**n for n, wait in enumerate(waits))


def test_it_gives_up_when_the_deadline_is_over(
    scripted_cloud: Any, client: CloudClient, jumping_clock: Any
) -> None:
    scripted_cloud.replies = [unavailable]
    with pytest.raises(CloudError, match=r"UNAVAILABLE: cloud .*: draining") as caught:
        ask(client)
    assert caught.value.reason == "UNAVAILABLE"
    assert f"({len(scripted_cloud.asked)} attempts)" in str(caught.value)
    # 10 s of deadline, waits of at most 1 s: it did not give up early, nor wait past the end.
    assert len(scripted_cloud.asked) >= 10
    assert 5 < sum(jumping_clock.slept) < 10


@pytest.mark.parametrize(("failures", "lines"), [(1, 0), (2, 1), (5, 1)])
def test_the_log_says_at_once_that_it_is_asked_again(
    scripted_cloud: Any,
    client: CloudClient,
    caplog: pytest.LogCaptureFixture,
    failures: int,
    lines: int,
) -> None:
    scripted_cloud.replies = [unavailable] * failures + scripted_cloud.replies
    assert ask(client).attempts == failures + 1
    said = caplog.messages
    assert len(said) == lines
    where = f"UNAVAILABLE: cloud {scripted_cloud.address}: draining"
    assert all(
        re.fullmatch(rf"{where} \(2 attempts\); asked again for 9\.\d+ s", one) for one in said
    )


def test_a_refusal_is_final_and_carries_its_reason(
    scripted_cloud: Any, client: CloudClient
) -> None:
    def refuse(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="TOKENIZER_MISMATCH", domain="escalade.v1"))
        context.abort_with_status(
            rpc_status.to_status(
                status_pb2.Status(
                    code=code_pb2.FAILED_PRECONDITION, message="another one", details=[detail]
                )
            )
        )
        raise AssertionError("abort raises")

    scripted_cloud.replies = [refuse]
    with pytest.raises(
        CloudError, match=r"TOKENIZER_MISMATCH: .*another one \(1 attempt\)"
    ) as caught:
        ask(client)
    assert caught.value.reason == "TOKENIZER_MISMATCH"
    assert len(scripted_cloud.asked) == 1


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, math.inf, math.nan])
def test_a_deadline_is_a_positive_number_of_seconds(deadline_s: float) -> None:
    with pytest.raises(CloudError, match=f"> 0 seconds and finite, got {deadline_s}"):
        CloudClient("127.0.0.1:1", deadline_s=deadline_s)


def test_a_deadline_in_another_age_is_no_deadline_that_is_over(scripted_cloud: Any) -> None:
    client = CloudClient(scripted_cloud.address, deadline_s=1e300)
    assert ask(client).attempts == 1
    client.close()


def test_a_certificate_whose_name_no_file_can_have() -> None:
    with pytest.raises(CloudError, match=r"'ca\\x00.pem': cannot be read: embedded null"):
        CloudClient("cloud.example.org:1", deadline_s=1.0, ca_cert=Path("ca\0.pem"))


def test_why_earlier_attempts_failed_is_said_where_the_last_is_cut(scripted_cloud: Any) -> None:
    release = threading.Event()

    def stall(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        release.wait(30)
        return pb.GenerateResponse()

    scripted_cloud.replies = [unavailable, stall]
    client = CloudClient(scripted_cloud.address, deadline_s=0.5, rng=random.Random(1))
    says = r"no answer within 0.5 s, before that UNAVAILABLE: draining \(2 attempts\)"
    try:
        with pytest.raises(CloudError, match=says):
            ask(client)
    finally:
        release.set()
        client.close()


def test_a_slow_cloud_runs_into_the_deadline(scripted_cloud: Any) -> None:
    release = threading.Event()

    def stall(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        release.wait(30)
        return pb.GenerateResponse()

    scripted_cloud.replies = [stall]
    client = CloudClient(scripted_cloud.address, deadline_s=0.2)
    try:
        with pytest.raises(CloudError, match=r"no answer within 0.2 s") as caught:
            ask(client)
        assert caught.value.reason == "DEADLINE_EXCEEDED"
    finally:
        release.set()
        client.close()


def test_a_server_that_does_not_speak_grpc(jumping_clock: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        client = CloudClient(f"127.0.0.1:{server.getsockname()[1]}", clock=jumping_clock)
        with pytest.raises(CloudError, match="UNAVAILABLE"):
            ask(client)
        client.close()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_nobody_there(jumping_clock: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    client = CloudClient(f"127.0.0.1:{port}", clock=jumping_clock)
    with pytest.raises(CloudError, match=r"UNAVAILABLE: cloud 127.0.0.1:\d+"):
        client.model_info()
    client.close()


@pytest.mark.parametrize("address", ["", "localhost", ":50051", "host:", "host:0", "host:70000"])
def test_a_bad_address_names_the_allowed_range(address: str) -> None:
    with pytest.raises(CloudError, match="must be HOST:PORT with a port in 1-65535, got"):
        CloudClient(address)


def test_off_loopback_the_channel_speaks_tls(
    scripted_cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    secure = grpc.secure_channel

    def watch(address: str, *args: Any, **kwargs: Any) -> grpc.Channel:
        opened.append(address)
        return secure(address, *args, **kwargs)

    monkeypatch.setattr(grpc, "secure_channel", watch)
    CloudClient("192.0.2.1:50051").close()
    assert opened == ["dns:///192.0.2.1:50051"]
    CloudClient("192.0.2.1:50051", plaintext=True).close()
    for here in ("[::1]", "localhost", "LOCALHOST", "localhost.", "[::ffff:127.0.0.1]"):
        CloudClient(f"{here}:50051").close()
    assert opened == ["dns:///192.0.2.1:50051"]


def test_a_tls_client_does_not_talk_to_a_server_without(
    scripted_cloud: Any, jumping_clock: Any, tmp_path: Path
) -> None:
    client = CloudClient(scripted_cloud.address, plaintext=False, clock=jumping_clock)
    with pytest.raises(CloudError, match="NO_TLS"):
        ask(client)
    assert scripted_cloud.asked == []
    client.close()


def test_a_server_that_asks_for_time_gets_it(
    scripted_cloud: Any, client: CloudClient, jumping_clock: Any
) -> None:
    def busy(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        detail = any_pb2.Any()
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(2500)
        detail.Pack(retry)
        context.abort_with_status(
            rpc_status.to_status(
                status_pb2.Status(
                    code=code_pb2.RESOURCE_EXHAUSTED, message="full", details=[detail]
                )
            )
        )
        raise AssertionError("abort raises")

    scripted_cloud.replies = [busy, *scripted_cloud.replies]
    assert ask(client).attempts == 2
    assert jumping_clock.slept == [2.5]


def test_a_full_queue_passes_though_it_does_not_say_when(
    scripted_cloud: Any, client: CloudClient
) -> None:
    def full(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="QUEUE_FULL", domain="escalade.v1"))
        context.abort_with_status(
            rpc_status.to_status(
                status_pb2.Status(
                    code=code_pb2.RESOURCE_EXHAUSTED, message="full", details=[detail]
                )
            )
        )
        raise AssertionError("abort raises")

    scripted_cloud.replies = [full, *scripted_cloud.replies]
    assert ask(client).attempts == 2


def test_what_is_exhausted_for_good_is_not_asked_again(
    scripted_cloud: Any, client: CloudClient
) -> None:
    """More than a message may hold: gRPC at this end refuses to read it."""
    scripted_cloud.says(text="x" * (5 << 20))
    with pytest.raises(CloudError, match=r"RESOURCE_EXHAUSTED: .*larger than max.*\(1 attempt\)"):
        ask(client)


def test_what_a_server_says_of_a_failure_is_a_line_of_a_terminal(
    scripted_cloud: Any, client: CloudClient
) -> None:
    def refuse(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="A\nLINE", domain="escalade.v1"))
        context.abort_with_status(
            rpc_status.to_status(
                status_pb2.Status(
                    code=code_pb2.INTERNAL, message="\x1b[2J" + "x" * 1500, details=[detail]
                )
            )
        )
        raise AssertionError("abort raises")

    scripted_cloud.replies = [refuse]
    with pytest.raises(CloudError) as caught:
        ask(client)
    assert caught.value.reason == "INTERNAL"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_details_that_cannot_be_read_say_nothing(scripted_cloud: Any, client: CloudClient) -> None:
    def garbled(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.INTERNAL, "garbled")
        raise AssertionError("abort raises")

    scripted_cloud.replies = [garbled]
    with pytest.raises(CloudError, match=r"INTERNAL: cloud .*: garbled \(1 attempt\)"):
        ask(client)


def test_a_cloud_that_comes_up_late_is_found(scripted_cloud: Any) -> None:
    """Real time: gRPC must dial again within our back-off, not after its own of a second."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = threading.Event()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    pb_grpc.add_CascadeServiceServicer_to_server(scripted_cloud, server)

    class StartsOnSecondWait(SystemClock):
        waits = 0

        def sleep_s(self, seconds: float) -> None:
            self.waits += 1
            if self.waits == 2:
                assert server.add_insecure_port(f"127.0.0.1:{port}") == port
                server.start()
                started.set()
            super().sleep_s(seconds)

    client = CloudClient(f"127.0.0.1:{port}", clock=StartsOnSecondWait(), rng=random.Random(1))
    try:
        assert ask(client).attempts > 2
        assert started.is_set()
    finally:
        client.close()
        server.stop(None).wait()
