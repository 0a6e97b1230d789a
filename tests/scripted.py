"""A cloud that answers as a test tells it to, on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc
from escalade.v1.channel import Options, server_options

Reply = Callable[[pb.GenerateRequest, grpc.ServicerContext], pb.GenerateResponse]


def good_reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        request_id=request.request_id,
        text="large answer",
        stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
        usage=pb.Usage(prompt_tokens=4, generated_tokens=3),
        timing=pb.Timing(queue_s=0.25, compute_s=0.5),
    )


@dataclass
class ScriptedCloud(pb_grpc.CascadeServiceServicer):
    """Plays `replies` in turn, the last one for ever; remembers what it was asked."""

    replies: list[Reply] = field(default_factory=lambda: [good_reply])
    asked: list[pb.GenerateRequest] = field(default_factory=list)
    #: Seconds that each request had left.
    left_s: list[float] = field(default_factory=list)
    #: Who it is; a gateway describes its tiers.
    info: pb.GetModelInfoResponse = field(
        default_factory=lambda: pb.GetModelInfoResponse(
            model=pb.ModelIdentity(name="scripted-large"), parameter_count=1000
        )
    )
    address: str = ""
    #: What it says by the other RPCs.
    streams: Callable[[Any, Any], Any] = lambda *_: iter(())
    judges: Callable[[Any, Any], Any] = lambda *_: pb.VerifyResponse()

    def Generate(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext
    ) -> pb.GenerateResponse:
        reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
        self.asked.append(request)
        self.left_s.append(context.time_remaining())
        return reply(request, context)

    def GenerateStream(self, request: pb.GenerateStreamRequest, context: Any) -> Any:
        return self.streams(request, context)

    def Verify(self, request: pb.VerifyRequest, context: Any) -> Any:
        return self.judges(request, context)

    def GetModelInfo(
        self, request: pb.GetModelInfoRequest, context: grpc.ServicerContext
    ) -> pb.GetModelInfoResponse:
        return self.info

    def says(self, **changed: Any) -> None:
        """From now on it answers well but for these fields of the response."""

        def reply(
            request: pb.GenerateRequest, context: grpc.ServicerContext
        ) -> pb.GenerateResponse:
            answer = good_reply(request, context)
            answer.MergeFrom(pb.GenerateResponse(**changed))
            return answer

        self.replies = [reply]

    def fails(self) -> None:
        """From now on it refuses, for good."""

        def boom(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.UNKNOWN, "as the test asked")

        self.replies = [boom]


@contextmanager
def scripted(options: Options | None = None) -> Iterator[ScriptedCloud]:
    """One that listens on a port of its own; the options are gRPC's, None takes a real server's."""
    cloud = ScriptedCloud()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=2),
        options=server_options() if options is None else options,
    )
    pb_grpc.add_CascadeServiceServicer_to_server(cloud, server)
    cloud.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield cloud
    finally:
        server.stop(None).wait()
