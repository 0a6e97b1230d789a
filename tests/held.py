"""A reply of a scripted cloud that is held until its client hangs up; on a real socket."""

from __future__ import annotations

import threading

import grpc
from scripted import good_reply

from escalade.v1 import cascade_pb2 as pb

#: Longer than anything takes that is right.
HELD_S = 30.0


class Held:
    """A reply that waits until the client has hung up, or for the word."""

    def __init__(self) -> None:
        self.arrived, self.go, self.hung_up = (threading.Event() for _ in range(3))

    def __call__(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext
    ) -> pb.GenerateResponse:
        def gone() -> None:
            self.hung_up.set()
            self.go.set()

        context.add_callback(gone)
        self.arrived.set()
        assert self.go.wait(HELD_S)
        return good_reply(request, context)
