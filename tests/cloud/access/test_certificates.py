"""Certificates on real connections: who is let in, and what a rotation changes."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from authority import Authority, Pair, needs_openssl

from escalade.cloud.certificates import TlsFiles, tls_files
from escalade.cloud.errors import TlsError
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc
from escalade.v1.watched_files import LOOK_EVERY_S

pytestmark = needs_openssl

ASKED = pb.GetModelInfoRequest()
# Each channel dials for itself, and says within a second that it may not.
ALONE = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    """Of a server, to be changed by a test."""
    made = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    put(authority.issue("first"), made)
    made.client_ca.write_bytes(authority.ca.read_bytes())
    return made


def put(pair: Pair, files: TlsFiles) -> None:
    files.cert.write_bytes(pair.cert.read_bytes())
    files.key.write_bytes(pair.key.read_bytes())


def channel(running: Any, authority: Authority, client: Pair | None = None) -> grpc.aio.Channel:
    pair = (None, None) if client is None else (client.key.read_bytes(), client.cert.read_bytes())
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), *pair)
    return grpc.aio.secure_channel(running.address, credentials, options=ALONE)


def shown(address: str) -> str:
    """The certificate that a new handshake sees, PEM."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10)


def pem(path: Path) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(path.read_text()))


async def info(line: grpc.aio.Channel) -> str:
    answer = await pb_grpc.CascadeServiceStub(line).GetModelInfo(ASKED, timeout=20)
    return answer.model.name


async def code_of(line: grpc.aio.Channel) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await info(line)
    return failure.value.code()


def test_only_those_whom_the_ca_has_signed_are_answered(
    serving: Any, engine: Any, authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other", "other").issue("stranger")

    async def main() -> None:
        async with serving(engine, tls=files) as running:
            async with channel(running, authority, authority.issue("phone")) as line:
                assert await info(line) == "tiny"
            for client in (None, stranger):
                async with channel(running, authority, client) as line:
                    assert await code_of(line) is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_a_rotation_is_seen_by_new_connections_and_felt_by_none(
    serving: Any, held: Any, clock: Any, authority: Authority, files: TlsFiles
) -> None:
    """A stream is under way while the certificate is replaced, by another of the same size too."""
    open_to_all = files._replace(client_ca=None)

    async def main() -> None:
        async with (
            serving(held, tls=open_to_all, clock=clock) as running,
            channel(running, authority) as line,
        ):
            gc.collect()  # gRPC holds what it calls by a bare pointer
            assert await asyncio.to_thread(shown, running.address) == pem(files.cert)
            held.gate.clear()
            request = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
            call = pb_grpc.CascadeServiceStub(line).GenerateStream(
                pb.GenerateStreamRequest(request=request)
            )
            message = asyncio.create_task(anext(aiter(call)))
            async with asyncio.timeout(60):
                while not held.queries:
                    await asyncio.sleep(0.001)
            second = authority.issue("second")
            put(second, files)
            # It is not looked at more often than that, however many connect.
            assert await asyncio.to_thread(shown, running.address) != pem(second.cert)
            clock.now_s += LOOK_EVERY_S
            assert await asyncio.to_thread(shown, running.address) == pem(second.cert)
            held.gate.set()
            messages = [await message, *[later async for later in call]]
            last = messages[-1]
            assert last.final.usage.generated_tokens > 0
            assert await info(line) == "tiny"

    asyncio.run(main())


def test_half_a_rotation_changes_nothing_and_is_said_once(
    serving: Any,
    engine: Any,
    clock: Any,
    authority: Authority,
    files: TlsFiles,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The certificate first, a second later its key: what any tool does that writes two files."""
    open_to_all, second = files._replace(client_ca=None), authority.issue("second")
    first = pem(files.cert)

    async def main() -> None:
        async with serving(engine, tls=open_to_all, clock=clock) as running:
            files.cert.write_bytes(second.cert.read_bytes())
            for _ in range(3):
                clock.now_s += LOOK_EVERY_S
                assert await asyncio.to_thread(shown, running.address) == first
            files.key.write_bytes(second.key.read_bytes())
            clock.now_s += LOOK_EVERY_S
            assert await asyncio.to_thread(shown, running.address) == pem(second.cert)
            files.key.unlink()
            clock.now_s += LOOK_EVERY_S
            assert await asyncio.to_thread(shown, running.address) == pem(second.cert)

    with caplog.at_level(logging.WARNING, "escalade.cloud.rereading"):
        asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert all(line.endswith("what was read before stands") for line in said)
    assert all(str(files.cert) in line and "\n" not in line for line in said)


def test_who_is_trusted_is_rotated_too(
    serving: Any, engine: Any, clock: Any, authority: Authority, files: TlsFiles, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "other")
    old, new = authority.issue("old"), other.issue("new")

    async def main() -> None:
        async with (
            serving(engine, tls=files, clock=clock) as running,
            channel(running, authority, old) as line,
        ):
            assert await info(line) == "tiny"
            aside = tmp_path / "aside.pem"
            aside.write_bytes(other.ca.read_bytes())
            aside.replace(files.client_ca)
            clock.now_s += LOOK_EVERY_S
            async with channel(running, authority, new) as later:
                assert await info(later) == "tiny"
            async with channel(running, authority, old) as later:
                assert await code_of(later) is grpc.StatusCode.UNAVAILABLE
            assert await info(line) == "tiny"

    asyncio.run(main())


def test_what_does_not_load_is_refused_before_anything_is_served(
    serving: Any, engine: Any, files: TlsFiles, authority: Authority
) -> None:
    async def main() -> None:
        async with serving(engine, tls=files):
            raise AssertionError("it serves")

    files.client_ca.write_text("no certificate")
    with pytest.raises(TlsError, match=r"client CA .*ca.pem: holds no certificates \(PEM\)"):
        asyncio.run(main())
    put(Pair(files.cert, authority.issue("another").key), files)
    with pytest.raises(TlsError, match=r"cert.pem, key .*key.pem: do not load: .*MISMATCH"):
        asyncio.run(main())


def test_clients_show_certificates_over_tls_alone() -> None:
    with pytest.raises(TlsError, match="client CA ca.pem: .* both are missing"):
        tls_files(None, None, Path("ca.pem"))


def test_who_does_not_speak_tls_keeps_nobody_else_waiting(
    serving: Any, engine: Any, authority: Authority, files: TlsFiles
) -> None:
    async def main() -> None:
        async with serving(engine, tls=files._replace(client_ca=None)) as running:
            host, _, port = running.address.rpartition(":")
            silent = [socket.create_connection((host, int(port))) for _ in range(200)]
            try:
                async with channel(running, authority) as line:
                    assert await info(line) == "tiny"
            finally:
                for one in silent:
                    one.close()

    asyncio.run(main())
