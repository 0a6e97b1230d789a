"""A real endpoint on a real socket, over the tiny artifact and a cloud that does as it is told."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedCloud

from escalade.edge import OpenOptions
from escalade.edge.endpoint import EndpointOptions, Listening, open_served_cascade
from escalade.edge.endpoint.served_cascade import ServedCascade
from escalade.edge.endpoint.web.server import Server, bind, server_of
from escalade.v1.address import Address

NEVER, ALWAYS = 1e9, -1.0
PROMPT = "g2p: cascade"


@dataclass
class Reply:
    """What came over HTTP."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def choice(self) -> Any:
        return self.json["choices"][0]

    @property
    def error(self) -> Any:
        assert set(self.json) == {"error"}, self.json
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream; it ends with the terminal one, and has no other."""
        assert self.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in self.raw.decode().split("\n\n") if line]
        data = [line.removeprefix("data: ") for line in lines if not line.startswith(":")]
        assert [one for one in data if one == "[DONE]"] in ([], ["[DONE]"])
        assert data[-1] == "[DONE]" or "error" in json.loads(data[-1])
        return [json.loads(one) for one in data if one != "[DONE]"]


@dataclass
class RunningEndpoint:
    """An endpoint that listens."""

    address: Address
    served: ServedCascade
    server: Server
    token: str | None = None

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body
        if body is not None:
            sent = {"content-type": "application/json", **sent}
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def chat(self, text: str = PROMPT, **fields: Any) -> Reply:
        messages = [{"role": "user", "content": text}]
        asked = {"model": self.served.name, "messages": messages, **fields}
        return self.call("POST", "/v1/chat/completions", asked)

    def complete(self, prompt: Any = PROMPT, **fields: Any) -> Reply:
        asked = {"model": self.served.name, "prompt": prompt, **fields}
        return self.call("POST", "/v1/completions", asked)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def asked(self, path: str = "/v1/completions", **fields: Any) -> bytes:
        """A request as bytes."""
        body = json.dumps({"model": self.served.name, "prompt": PROMPT, **fields}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.address}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


Serve = Callable[..., RunningEndpoint]


@contextmanager
def listening(
    served: ServedCascade, options: EndpointOptions, **listens: Any
) -> Iterator[RunningEndpoint]:
    where = Listening(**{"address": Address("127.0.0.1", 0), **listens})
    bound = bind(where, options)
    ready = threading.Event()
    server = server_of(served, options, where, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert ready.wait(30)
        address = Address("127.0.0.1", bound.getsockname()[1])
        yield RunningEndpoint(address, served, server, options.token)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
        bound.close()


@pytest.fixture
def cascade_file(
    float_artifact: Path, tmp_path: Path, scripted_cloud: ScriptedCloud
) -> Callable[..., Path]:
    """A file of the tiny artifact and, where asked, the scripted cloud above it."""

    def make(
        threshold: float = NEVER,
        *,
        cloud: bool = True,
        address: str | None = None,
        artifact: Path = float_artifact,
        gate: str = "",
    ) -> Path:
        path = tmp_path / "cascade.toml"
        text = f'[[tiers]]\nname = "small"\nmembers = ["{artifact}"]\n'
        if cloud:
            text += f'gate = {{ rule = "mean", threshold = {threshold}{gate} }}\n'
            where = address or scripted_cloud.address
            deadline_s = 5.0 if address is None else 0.3
            text += f'\n[[tiers]]\nname = "large"\naddress = "{where}"\n'
            text += f"deadline_s = {deadline_s}\n"
        path.write_text(text)
        return path

    return make


@pytest.fixture
def serve(cascade_file: Callable[..., Path]) -> Iterator[Serve]:
    """Serve a cascade until the test ends: `serve(threshold, **of the file, options=...)`."""
    with ExitStack() as stack:

        def make(
            threshold: float = NEVER,
            *,
            path: Path | None = None,
            options: EndpointOptions | None = None,
            trace: Path | None = None,
            now_s: Callable[[], float] = lambda: 0.0,
            listens: dict[str, Any] | None = None,
            **written: Any,
        ) -> RunningEndpoint:
            where = path or cascade_file(threshold, **written)
            served = open_served_cascade(where, OpenOptions(threads=1), trace=trace, now_s=now_s)
            stack.enter_context(served)
            return stack.enter_context(
                listening(served, options or EndpointOptions(), **(listens or {}))
            )

        yield make
