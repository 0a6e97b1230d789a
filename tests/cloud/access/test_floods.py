"""Floods of connections and of streams: what they take is given back, and others are answered."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from escalade.cloud.access import AccessOptions, Limits
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

INFO = pb.GetModelInfoRequest()
# A client's side of HTTP/2 (RFC 9113, section 3.4): the preface, and settings that set nothing.
SPEAKS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
ALONE = [("grpc.use_local_subchannel_pool", 1)]
SERVER = """
import sys
from escalade.cloud.backends import transformers_factory
from escalade.cloud.server import ServeOptions, run_server

run_server(
    transformers_factory(sys.argv[1], threads=1),
    ServeOptions(listen="127.0.0.1:0"),
    on_ready=lambda address: print(address, flush=True),
)
"""


def dial(address: str, said: bytes) -> socket.socket:
    host, _, port = address.rpartition(":")
    line = socket.create_connection((host, int(port)), timeout=60)
    line.sendall(said)
    return line


def until_closed(line: socket.socket) -> None:
    """Read to the end; a minute without one is a failure."""
    try:
        while line.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("said", [b"", SPEAKS], ids=["nothing", "settings"])
def test_connections_that_ask_nothing_are_closed_and_a_client_dials_again(
    serving: Any, engine: Any, said: bytes
) -> None:
    async def main() -> None:
        async with serving(engine, idle_s=0.2) as running:
            assert await running.stub.GetModelInfo(INFO)
            lines = [dial(running.address, said) for _ in range(100)]
            for line in lines:
                await asyncio.to_thread(until_closed, line)
                line.close()
            assert await running.stub.GetModelInfo(INFO)

    asyncio.run(main())


def test_a_request_under_way_is_no_idle_connection(serving: Any, held: Any) -> None:
    async def main() -> None:
        async with serving(held, idle_s=0.1) as running:
            held.gate.clear()
            call = running.stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="w01")))
            with dial(running.address, SPEAKS) as other:  # closed after as long
                await asyncio.to_thread(until_closed, other)
            held.gate.set()
            assert (await call).token_ids

    asyncio.run(main())


def test_more_connections_than_descriptors_are_outlived(tiny_model: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tiny_model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            address = process.stdout.readline().strip()
            open_now = len([*Path(f"/proc/{process.pid}/fd").iterdir()])
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (open_now + 40, open_now + 40))
            with ExitStack() as lines:
                for _ in range(120):
                    lines.enter_context(dial(address, SPEAKS))
                with grpc.insecure_channel(address, options=ALONE) as late:
                    call = pb_grpc.CascadeServiceStub(late).GetModelInfo.future(INFO, timeout=60)
                    lines.close()
                    assert call.result().model.name == "tiny"
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("gated", [False, True])
def test_streams_that_never_send_their_request_keep_nobody_waiting(
    serving: Any, engine: Any, gated: bool
) -> None:
    """By hundreds more than a connection may have at once."""
    access = AccessOptions(limits=Limits(requests_per_minute=1 << 20) if gated else Limits())

    async def main() -> None:
        async with serving(engine, access=access) as running:
            async with grpc.aio.insecure_channel(running.address, options=ALONE) as flood:
                method = flood.stream_unary("/escalade.v1.CascadeService/Generate")
                silent = [method() for _ in range(1000)]
                assert (await running.stub.GetModelInfo(INFO, timeout=60)).model.name == "tiny"
                for call in silent:
                    call.cancel()
            assert await running.stub.GetModelInfo(INFO, timeout=60)

    asyncio.run(main())
