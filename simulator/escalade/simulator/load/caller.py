"""Asks a server one request, once, and says what came; knows no schedule.

Nothing is asked again: what a client's attempts would hide is what is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from escalade.edge.wire import ClientFiles, CloudClient, dial_to
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

_LEAST_TIMEOUT_S = 0.001  # gRPC takes 0 as an error of ours
_DETAILS = "grpc-status-details-bin"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and what of each request.

    Attributes:
        address: `HOST:PORT`.
        prompts: texts, at least 1.
        max_new_tokens: None is the server's default.
        streamed: whether `GenerateStream` is asked, so that the first token's time is known.
        ca_cert: root certificates (PEM), over TLS.
        plaintext: see `escalade.edge.wire.dial_to`.
        files: a token, a certificate.
    """

    address: str
    prompts: Sequence[str]
    max_new_tokens: int | None = None
    streamed: bool = False
    ca_cert: Path | None = None
    plaintext: bool | None = None
    files: ClientFiles = ClientFiles()

    def info(self, deadline_s: float) -> pb.GetModelInfoResponse:
        """Who is serving.

        Raises:
            CloudError: nobody, or an argument is malformed.
        """
        client = CloudClient(
            self.address,
            deadline_s=deadline_s,
            ca_cert=self.ca_cert,
            plaintext=self.plaintext,
            files=self.files,
        )
        try:
            return client.model_info()
        finally:
            client.close()


class Said(NamedTuple):
    """What became of one request."""

    #: Why there is no answer, as the contract spells it, else gRPC's code; empty for an answer.
    reason: str = ""
    #: What the server said with it.
    detail: str = ""
    tokens: int = 0
    #: Of a stream: the loop's seconds when a message came, and how many tokens it brought.
    pieces: Sequence[tuple[float, int]] = ()
    bytes_up: int = 0
    bytes_down: int = 0


class Caller:
    """Connections to one server; a request goes over that of its client."""

    def __init__(
        self,
        target: Target,
        channels: Sequence[grpc.aio.Channel],
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._target, self._metadata = target, metadata
        self._stubs = [pb_grpc.CascadeServiceStub(channel) for channel in channels]
        # A server computes a request that it knows already no second time, be it of another run.
        self._ids = (f"{uuid.uuid4().hex}-{number}" for number in itertools.count())

    async def ask(self, number: int, prompt: int, client: int, timeout_s: float) -> Said:
        """Ask once.

        Args:
            number: of the request, in its run.
            prompt: which of the target's.
            client: over whose connection, modulo their number.
            timeout_s: what is not answered then, is not waited for.
        """
        request = pb.GenerateRequest(
            request_id=next(self._ids),
            prompt=pb.Prompt(text=self._target.prompts[prompt]),
            stopping=pb.StoppingOptions(max_new_tokens=self._target.max_new_tokens),
        )
        stub = self._stubs[client % len(self._stubs)]
        timeout_s = max(timeout_s, _LEAST_TIMEOUT_S)
        size = request.ByteSize()
        try:
            if self._target.streamed:
                call = stub.GenerateStream(
                    pb.GenerateStreamRequest(request=request),
                    timeout=timeout_s,
                    metadata=self._metadata,
                )
                said = await _streamed(call)
            else:
                response = await stub.Generate(request, timeout=timeout_s, metadata=self._metadata)
                tokens = response.usage.generated_tokens
                said = Said(tokens=tokens, bytes_down=response.ByteSize())
        except grpc.aio.AioRpcError as error:
            said = Said(_reason_of(error), error.details() or "")
        return said._replace(bytes_up=size)


async def _streamed(call: AsyncIterable[pb.GenerateStreamResponse]) -> Said:
    loop = asyncio.get_running_loop()
    pieces: list[tuple[float, int]] = []
    given = size = tokens = 0
    async for message in call:
        size += message.ByteSize()
        if message.HasField("final"):
            tokens = message.final.usage.generated_tokens
            new = len(message.final.token_ids) - given
        else:
            new = len(message.chunk.token_ids)
        given += new
        if new > 0:
            pieces.append((loop.time(), new))
    return Said(tokens=tokens, pieces=pieces, bytes_down=size)


@asynccontextmanager
async def connected(target: Target, connections: int) -> AsyncIterator[Caller]:
    """So many connections to a server, until the block ends.

    Args:
        target: whose `info` has answered, so that its options are known to be well-formed.
        connections: at least 1.
    """
    dialled = dial_to(
        target.address, ca_cert=target.ca_cert, plaintext=target.plaintext, files=target.files
    )
    name, options, credentials = dialled.target, dialled.options, dialled.credentials
    grpc.aio.init_grpc_aio()  # without it, the end may hang: see `escalade.cloud.server.serve`
    async with AsyncExitStack() as stack:
        channels = []
        for _ in range(connections):
            if credentials is None:
                channel = grpc.aio.insecure_channel(name, options)
            else:
                channel = grpc.aio.secure_channel(name, credentials, options)
            channels.append(await stack.enter_async_context(channel))
        yield Caller(target, channels, dialled.metadata)


def _reason_of(error: grpc.aio.AioRpcError) -> str:
    """The contract's reason in google.rpc.ErrorInfo, else gRPC's code."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            try:
                status = status_pb2.Status.FromString(value)
                if any(detail.Unpack(info) for detail in status.details) and info.reason:
                    return str(info.reason)
            except DecodeError:
                break
    return error.code().name
