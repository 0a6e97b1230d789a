"""A cloud that answers as a test tells it to, on a real socket, and a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
import pytest

from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

Reply = Callable[[pb.GenerateRequest, grpc.ServicerContext], pb.GenerateResponse]


def good_reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        request_id=request.request_id,
        text="large answer",
        stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
        usage=pb.Usage(prompt_tokens=4, generated_tokens=3),
        timing=pb.Timing(queue_s=0.25, compute_s=0.5),
    )


def fail_with(code: grpc.StatusCode) -> Reply:
    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        context.abort(code, "as the test asked")
        raise AssertionError("abort raises")

    return reply


@dataclass
class ScriptedCloud(pb_grpc.CascadeServiceServicer):
    """Plays `replies` in turn, the last one for ever; remembers what it was asked."""

    replies: list[Reply] = field(default_factory=lambda: [good_reply])
    asked: list[pb.GenerateRequest] = field(default_factory=list)
    address: str = ""

    def Generate(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext
    ) -> pb.GenerateResponse:
        reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
        self.asked.append(request)
        return reply(request, context)

    def GetModelInfo(
        self, request: pb.GetModelInfoRequest, context: grpc.ServicerContext
    ) -> pb.GetModelInfoResponse:
        return pb.GetModelInfoResponse(
            model=pb.ModelIdentity(name="scripted-large"), parameter_count=1000
        )


@pytest.fixture
def scripted_cloud() -> Iterator[ScriptedCloud]:
    cloud = ScriptedCloud()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    pb_grpc.add_CascadeServiceServicer_to_server(cloud, server)
    cloud.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield cloud
    server.stop(None).wait()
