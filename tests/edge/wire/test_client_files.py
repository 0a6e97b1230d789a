"""What a client shows: only to whom it may, only what it should, over real sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from authority import Authority, needs_openssl
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedCloud

from escalade.edge.errors import CloudError
from escalade.edge.wire import ClientFiles, CloudClient
from escalade.edge.wire.connection.client_files import read_token
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

TOKEN = "esc_" + "Az09-_" * 7
REQUEST = pb.GenerateRequest(prompt=pb.Prompt(text="g2p: cascade"))


class Watched(ScriptedCloud):
    """Notes what every call carries."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: list[list[str]] = []

    def _note(self, context: grpc.ServicerContext) -> None:
        metadata = context.invocation_metadata()
        self.carried.append([str(value) for key, value in metadata if key == "authorization"])

    def Generate(self, request: Any, context: Any) -> Any:
        self._note(context)
        return super().Generate(request, context)

    def GetModelInfo(self, request: Any, context: Any) -> Any:
        self._note(context)
        return super().GetModelInfo(request, context)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def served(watched: Watched) -> Iterator[grpc.Server]:
    """A server of it that is bound to nothing yet."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_CascadeServiceServicer_to_server(watched, server)
    yield server
    server.stop(None).wait()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def test_every_call_carries_the_token_once(
    watched: Watched, served: grpc.Server, token_file: Path
) -> None:
    port = served.add_insecure_port("127.0.0.1:0")
    served.start()
    client = CloudClient(f"127.0.0.1:{port}", files=ClientFiles(token_file))
    client.model_info()
    assert client.generate(REQUEST) is not None
    assert client.generate(REQUEST, cancelled=lambda: False) is not None
    client.close()
    bare = CloudClient(f"127.0.0.1:{port}")
    bare.model_info()
    bare.close()
    assert watched.carried == [[f"Bearer {TOKEN}"]] * 3 + [[]]


def test_a_token_is_not_sent_in_the_clear(token_file: Path) -> None:
    with pytest.raises(CloudError, match="BAD_OPTION: .*over TLS or to this machine itself"):
        CloudClient("192.0.2.1:50051", plaintext=True, files=ClientFiles(token_file))
    CloudClient("192.0.2.1:50051", files=ClientFiles(token_file)).close()
    for here in ("127.0.0.1", "[::1]", "localhost"):
        CloudClient(f"{here}:50051", files=ClientFiles(token_file)).close()


@needs_openssl
def test_a_certificate_is_shown_to_who_asks_for_one(
    watched: Watched, served: grpc.Server, token_file: Path, tmp_path: Path, jumping_clock: Any
) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    root = authority.ca.read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], root, require_client_auth=True
    )
    port = served.add_secure_port("127.0.0.1:0", credentials)
    served.start()
    phone = authority.issue("phone")

    def client(*files: Path | None) -> CloudClient:
        return CloudClient(
            f"127.0.0.1:{port}",
            deadline_s=3.0,
            ca_cert=authority.ca,
            files=ClientFiles(*files),
            clock=jumping_clock,
        )

    known, unknown = client(token_file, *phone), client(token_file)
    assert known.model_info().model.name == "scripted-large"
    with pytest.raises(CloudError, match="UNAVAILABLE"):
        unknown.model_info()
    known.close()
    unknown.close()
    assert watched.carried == [[f"Bearer {TOKEN}"]]


@needs_openssl
def test_files_that_do_not_serve_are_refused_at_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")

    def refusal(*files: Path | None) -> str:
        with pytest.raises(CloudError) as failure:
            CloudClient("127.0.0.1:1", files=ClientFiles(*files))
        assert failure.value.reason == "BAD_OPTION"
        assert "\n" not in str(failure.value)
        return str(failure.value)

    assert "the key is missing" in refusal(None, one.cert)
    assert "the certificate is missing" in refusal(None, None, one.key)
    assert "do not load: " in refusal(None, one.cert, other.key)
    assert "none.pem: cannot be read: No such file" in refusal(None, tmp_path / "none.pem", one.key)
    assert "none: cannot be read: No such file" in refusal(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666])
def test_what_anybody_may_read_is_no_secret(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(CloudError, match=rf"anybody .* may read .*; chmod o= {token_file}"):
        read_token(token_file)
    token_file.chmod(mode & 0o770)
    assert read_token(token_file) == TOKEN


def test_a_token_comes_through_a_pipe() -> None:
    reading, writing = os.pipe()
    os.write(writing, TOKEN.encode())
    os.close(writing)
    assert read_token(Path(f"/dev/fd/{reading}")) == TOKEN
    os.close(reading)


@pytest.mark.parametrize(
    "content", ["", "two tokens", f"Bearer {TOKEN}", f"{TOKEN}\n{TOKEN}", "é", "a" * 600, "a\0b"]
)
def test_a_file_holds_one_token_and_nothing_else(token_file: Path, content: str) -> None:
    token_file.write_text(content)
    with pytest.raises(CloudError, match="must hold one token, and holds something else") as caught:
        read_token(token_file)
    assert not content or content not in str(caught.value)


@given(st.binary(max_size=100))
def test_any_file_is_a_token_that_can_be_sent_or_a_refusal(content: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    try:
        token = read_token(Path(f"/dev/fd/{reading}"))
    except CloudError:
        return
    finally:
        os.close(reading)
    assert token.isascii()
    assert token.isprintable()
    assert token == content.strip().decode()


def refusing(code: int, reason: str, *more: Any) -> Any:
    def refuse(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        details = [error_details_pb2.ErrorInfo(reason=reason, domain="escalade.v1"), *more]
        packed = [any_pb2.Any() for _ in details]
        for one, detail in zip(packed, details, strict=True):
            one.Pack(detail)
        context.abort_with_status(
            rpc_status.to_status(status_pb2.Status(code=code, message="no", details=packed))
        )
        raise AssertionError("abort raises")

    return refuse


def test_who_is_not_known_is_not_asked_again(scripted_cloud: Any, jumping_clock: Any) -> None:
    scripted_cloud.replies = [refusing(code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED")]
    client = CloudClient(scripted_cloud.address, clock=jumping_clock)
    with pytest.raises(CloudError, match=r"^UNAUTHENTICATED: cloud .*: no \(1 attempt\)") as caught:
        client.generate(REQUEST)
    assert caught.value.reason == "UNAUTHENTICATED"
    assert jumping_clock.slept == []
    client.close()


@pytest.mark.parametrize(("wait_s", "slept"), [(3.5, [3.5]), (3600.0, [])])
def test_a_quota_is_waited_for_where_the_deadline_allows(
    scripted_cloud: Any, jumping_clock: Any, wait_s: float, slept: list[float]
) -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(int(wait_s * 1e9))
    spent = refusing(code_pb2.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry)
    scripted_cloud.replies = [spent, *scripted_cloud.replies]
    client = CloudClient(scripted_cloud.address, clock=jumping_clock)
    if slept:
        answer = client.generate(REQUEST)
        assert answer is not None
        assert answer.attempts == 2
    else:
        with pytest.raises(CloudError, match=r"^QUOTA_EXCEEDED: .*\(1 attempt\)"):
            client.generate(REQUEST)
    assert jumping_clock.slept == slept
    client.close()
