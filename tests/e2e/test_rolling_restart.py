"""A server that is restarted under load costs no query: what it cuts is asked again."""

from __future__ import annotations

import socket
import threading
from concurrent import futures

import pytest
from quick import served

from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

CLIENTS, AFTER = 4, 10


@pytest.mark.parametrize("restarts", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_no_query_is_lost(restarts: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    over, answered = threading.Event(), [0] * CLIENTS

    def ask(number: int) -> None:
        client = CloudClient(address, deadline_s=60)
        try:
            while not over.is_set():
                assert client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="x"))) is not None
                answered[number] += 1
        finally:
            client.close()

    with futures.ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, number) for number in range(CLIENTS)]
        try:
            for _ in range(restarts):
                with served(address):
                    before = [*answered]
                    while not any(one.done() for one in asking) and any(
                        now < then + AFTER for now, then in zip(answered, before, strict=True)
                    ):
                        over.wait(0.01)
                if any(one.done() for one in asking):
                    break
        finally:
            over.set()
            with served(address):  # for what is under way
                for one in asking:
                    one.result(60)
