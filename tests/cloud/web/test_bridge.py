"""A browser gets over gRPC-Web what a device gets over gRPC: a real server, real sockets."""

from __future__ import annotations

import asyncio
import base64
import ssl
import struct
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from authority import Authority, needs_openssl
from google.protobuf.message import Message
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from escalade.cloud.access import AccessOptions, Limits, entry_of, make_token, with_entry
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.certificates import TlsFiles
from escalade.cloud.errors import ListenError
from escalade.cloud.server import ServeOptions, serve
from escalade.cloud.web import WebOptions
from escalade.cloud.web.frames import message_frame
from escalade.v1 import cascade_pb2 as pb

PAGE = "https://page.example"
WEB = WebOptions(listen="127.0.0.1:0", origins=(PAGE,))
HEADERS = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
PROMPT = pb.Prompt(text="w01 w02")


@dataclass
class Said:
    """A response, frame by frame."""

    messages: list[bytes]
    trailers: dict[str, str]

    @property
    def status(self) -> int:
        return int(self.trailers["grpc-status"])

    @property
    def reason(self) -> str:
        packed = base64.b64decode(self.trailers["grpc-status-details-bin"])
        info = ErrorInfo()
        details = status_pb2.Status.FromString(packed).details
        assert any(one.Unpack(info) for one in details)
        return info.reason


def read(body: bytes) -> Said:
    messages, trailers = [], {}
    while body:
        flag, length = struct.unpack_from("!BI", body)
        frame, body = body[5 : 5 + length], body[5 + length :]
        if flag == 0x80:
            assert not body, "nothing follows the trailers"
            lines = frame.decode().removesuffix("\r\n").split("\r\n")
            trailers = dict(line.split(": ", 1) for line in lines)
        else:
            messages.append(frame)
    return Said(messages, trailers)


async def post(
    url: str, method: str, request: Message | bytes, **headers: str
) -> tuple[httpx2.Response, Said]:
    body = request if isinstance(request, bytes) else message_frame(request.SerializeToString())
    async with httpx2.AsyncClient(timeout=30) as client:
        response = await client.post(
            f"{url}/escalade.v1.CascadeService/{method}",
            content=body,
            headers={**HEADERS, **{key.replace("_", "-"): value for key, value in headers.items()}},
        )
    said = Said([], {}) if response.status_code != 200 else read(response.content)
    return response, said


def test_a_browser_gets_what_a_device_gets(engine: Any, serving: Any) -> None:
    request = pb.GenerateRequest(prompt=PROMPT, output=pb.OutputOptions(logprobs=True))

    async def main() -> None:
        async with serving(engine, web=WEB) as running:
            wanted = await running.stub.Generate(request)
            response, said = await post(running.web, "Generate", request, origin=PAGE)
            assert response.headers["access-control-allow-origin"] == PAGE
            assert response.headers["content-type"] == "application/grpc-web+proto"
            exposed = response.headers["access-control-expose-headers"]
            assert {"grpc-status", "grpc-message"} <= set(exposed.split(", "))
            assert said.status == 0
            found = pb.GenerateResponse.FromString(said.messages[0])
            assert list(found.token_ids) == list(wanted.token_ids)
            assert found.text == wanted.text
            _, said = await post(
                running.web, "GenerateStream", pb.GenerateStreamRequest(request=request)
            )
            pieces = [pb.GenerateStreamResponse.FromString(one) for one in said.messages]
            assert [one.sequence for one in pieces] == list(range(len(pieces)))
            assert pieces[-1].final.text == wanted.text
            assert "".join(one.chunk.text for one in pieces[:-1]) == wanted.text

    asyncio.run(main())


def test_a_refusal_carries_its_reason(engine: Any, serving: Any) -> None:
    async def main() -> None:
        async with serving(engine, web=WEB) as running:
            response, said = await post(running.web, "Generate", pb.GenerateRequest())
            assert response.status_code == 200
            assert said.status == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            assert said.reason == "PROMPT_EMPTY"
            assert "prompt" in said.trailers["grpc-message"]
            _, said = await post(running.web, "Nothing", pb.GenerateRequest())
            assert said.status == grpc.StatusCode.UNIMPLEMENTED.value[0]
            _, said = await post(running.web, "Generate", b"\x00")
            assert said.status == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            _, said = await post(
                running.web, "Generate", pb.GenerateRequest(prompt=PROMPT), grpc_timeout="x"
            )
            assert "grpc-timeout" in said.trailers["grpc-message"]

    asyncio.run(main())


def test_other_pages_are_refused_before_anything_is_computed(held: Any, serving: Any) -> None:
    request = pb.GenerateRequest(prompt=PROMPT)

    async def main() -> None:
        async with serving(held, web=WEB) as running:
            for origin in ("https://other.example", "http://page.example", "null", f"{PAGE}:444"):
                response, _ = await post(running.web, "Generate", request, origin=origin)
                assert response.status_code == 403, origin
                assert "access-control-allow-origin" not in response.headers
            assert held.queries == []
            async with httpx2.AsyncClient() as client:
                asked = {
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "content-type,authorization,grpc-timeout",
                }
                url = f"{running.web}/escalade.v1.CascadeService/Generate"
                allowed = await client.options(url, headers={"origin": PAGE, **asked})
                assert allowed.status_code == 200
                assert allowed.headers["access-control-allow-origin"] == PAGE
                other = await client.options(url, headers={"origin": "https://o.example", **asked})
                assert other.status_code == 400

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "method", "kind", "status"),
    [
        ("/", "GET", "", 404),
        ("/grpc.reflection.v1alpha.ServerReflection/X", "POST", HEADERS["content-type"], 404),
        ("/escalade.v1.CascadeService/Generate/x", "POST", HEADERS["content-type"], 404),
        ("/escalade.v1.CascadeService/%C3%A9", "POST", HEADERS["content-type"], 404),
        ("/escalade.v1.CascadeService/Gen%0Aerate", "POST", HEADERS["content-type"], 404),
        ("/escalade.v1.CascadeService/Generate", "GET", HEADERS["content-type"], 405),
        ("/escalade.v1.CascadeService/Generate", "POST", "application/json", 415),
        ("/escalade.v1.CascadeService/Generate", "POST", "application/grpc-web-text", 415),
    ],
)
def test_what_is_no_rpc_is_refused(
    engine: Any, serving: Any, path: str, method: str, kind: str, status: int
) -> None:
    async def main() -> None:
        async with serving(engine, web=WEB) as running, httpx2.AsyncClient() as client:
            response = await client.request(
                method, running.web + path, headers={"content-type": kind}, content=b""
            )
            assert response.status_code == status

    asyncio.run(main())


def test_a_header_that_grpc_has_no_words_for_is_refused(engine: Any, serving: Any) -> None:
    async def main() -> None:
        async with serving(engine, web=WEB) as running, httpx2.AsyncClient() as client:
            response = await client.post(
                f"{running.web}/escalade.v1.CascadeService/GetModelInfo",
                content=message_frame(b""),
                headers={**HEADERS, "authorization": "Bearer \xe9".encode("latin-1")},
            )
            assert response.status_code == 400
            assert response.text == "authorization: must be printable ASCII\n"

    asyncio.run(main())


def test_a_request_too_long_is_refused(engine: Any, serving: Any) -> None:
    async def main() -> None:
        async with serving(engine, web=WEB) as running:
            response, _ = await post(running.web, "Generate", b"\x00" * ((4 << 20) + 6))
            assert response.status_code == 413

    asyncio.run(main())


def test_tokens_and_limits_hold_for_browsers(engine: Any, serving: Any, tmp_path: Path) -> None:
    token, path = make_token(), tmp_path / "tokens.toml"
    path.write_text(with_entry("", "page", entry_of(token, Limits(2, None), None)))
    request = pb.GenerateRequest(prompt=PROMPT)

    async def main() -> None:
        access = AccessOptions(tokens=path)
        async with serving(engine, web=WEB, access=access) as running:
            _, said = await post(running.web, "Generate", request)
            assert said.reason == "UNAUTHENTICATED"
            bearer = {"authorization": f"Bearer {token}"}
            reasons = []
            for _ in range(4):
                _, said = await post(running.web, "Generate", request, **bearer)
                reasons.append(said.reason if said.status else "")
            assert reasons[0] == ""
            assert reasons[-1] == "QUOTA_EXCEEDED"

    asyncio.run(main())


def test_each_address_is_a_client_of_its_own(engine: Any, serving: Any) -> None:
    """And nobody says through the gRPC port, or in a header of a page, whose a request is."""
    request = pb.GenerateRequest(prompt=PROMPT)
    claimed = {"escalade-web-peer": "ipv4:10.0.0.7:1"}

    async def main() -> None:
        access = AccessOptions(limits=Limits(1, None))
        async with serving(engine, web=WEB, access=access) as running:
            _, said = await post(running.web, "Generate", request)
            assert said.status == 0
            for headers in ({}, claimed):
                _, said = await post(running.web, "Generate", request, **headers)
                assert said.reason == "QUOTA_EXCEEDED"
            with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
                await running.stub.Generate(request, metadata=tuple(claimed.items()))

    asyncio.run(main())


def test_who_goes_is_not_computed_for(held: Any, serving: Any) -> None:
    held.stall_at = 1

    async def main() -> None:
        async with serving(held, web=WEB) as running:
            asking = asyncio.create_task(
                post(running.web, "Generate", pb.GenerateRequest(prompt=PROMPT))
            )
            async with asyncio.timeout(30):
                while not held.stalled:
                    await asyncio.sleep(0.01)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                while not held.answers:  # it was told to stop
                    await asyncio.sleep(0.01)
            assert held.answers[0].stop_reason == pb.STOP_REASON_CANCELLED

    asyncio.run(main())


def test_a_drain_finishes_what_was_asked(held: Any, serving: Any) -> None:
    held.gate.clear()

    async def main() -> None:
        async with serving(held, web=WEB) as running:
            asking = asyncio.create_task(
                post(running.web, "Generate", pb.GenerateRequest(prompt=PROMPT))
            )
            async with asyncio.timeout(30):
                while not held.queries:
                    await asyncio.sleep(0.01)
                running.stop.set()
                held.gate.set()
                _, said = await asking
            assert said.status == 0
            assert pb.GenerateResponse.FromString(said.messages[0]).token_ids

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"listen": "nowhere"}, "web must be HOST:PORT"),
        ({"listen": "0.0.0.0:0"}, "without TLS only a loopback address"),
        ({"listen": "127.0.0.1:0", "origins": ["*"]}, "allow-origin must be"),
        ({"listen": "127.0.0.1:0", "origins": ["https://a.example/x"]}, "allow-origin must be"),
    ],
)
def test_a_port_that_cannot_be_is_refused(engine: Any, options: Any, said: str) -> None:
    async def main() -> None:
        await serve(
            partial(EmbeddedBackend, lambda: engine),
            ServeOptions(listen="127.0.0.1:0", web=WebOptions(**options)),
            stop=asyncio.Event(),
        )

    with pytest.raises(ListenError, match=said) as failure:
        asyncio.run(main())
    assert "\n" not in str(failure.value)


def test_without_its_packages_it_names_the_extra(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "starlette.middleware.cors", None)

    async def main() -> None:
        await serve(
            partial(EmbeddedBackend, lambda: engine),
            ServeOptions(listen="127.0.0.1:0", web=WEB),
            stop=asyncio.Event(),
        )

    with pytest.raises(ListenError, match=r"needs starlette.*pip install 'escalade\[web\]'"):
        asyncio.run(main())


@needs_openssl
def test_tls_is_spoken_and_clients_certificates_are_not(
    engine: Any, serving: Any, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = TlsFiles(*authority.issue("server"))
    trusting = ssl.create_default_context(cafile=authority.ca)

    async def main() -> None:
        async with serving(engine, web=WEB, tls=tls) as running:
            assert running.web.startswith("https://")
            async with httpx2.AsyncClient(verify=trusting) as client:
                response = await client.post(
                    f"{running.web}/escalade.v1.CascadeService/GetModelInfo",
                    content=message_frame(b""),
                    headers=HEADERS,
                )
            assert read(response.content).status == 0
        with pytest.raises(ListenError, match="--client-ca"):
            async with serving(engine, web=WEB, tls=tls._replace(client_ca=authority.ca)):
                pass

    asyncio.run(main())
