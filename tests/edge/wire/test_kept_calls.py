"""A failed call is let go at once: one that is kept may keep its process from ending."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

ASKED = pb.GenerateRequest(prompt=pb.Prompt(text="x"))


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: list(client.stream(ASKED)),
        lambda client: client.generate(ASKED, cancelled=lambda: False),
        lambda client: client.generate(ASKED),
        lambda client: client.model_info(),
    ],
    ids=["stream", "cancellable", "whole", "info"],
)
def test_no_failed_call_waits_for_the_collector(ask: Callable[[CloudClient], object]) -> None:
    client = CloudClient("127.0.0.1:1", deadline_s=0.3)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(CloudError, match="UNAVAILABLE|unavailable|refused") as failure:
            ask(client)
        del failure
        kept = [one for one in gc.get_objects() if type(one).__module__ == "grpc._channel"]
        assert not [one for one in kept if type(one).__name__.endswith(("Rendezvous", "RpcError"))]
    finally:
        gc.enable()
        client.close()
