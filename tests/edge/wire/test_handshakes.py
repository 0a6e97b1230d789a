"""A server that cannot be trusted: said at once and why, over real handshakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from authority import Authority, Pair, needs_openssl
from scripted import ScriptedCloud
from typer.testing import CliRunner

from escalade.cli.main import app
from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient, mistrust_of
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

REQUEST = pb.GenerateRequest(prompt=pb.Prompt(text="g2p: cascade"))


class Untrusted(NamedTuple):
    """What a server shows, and what is said of it."""

    shows: Callable[[Authority], Pair | None]
    reason: str
    said: str


def by_another(authority: Authority) -> Pair:
    return Authority(authority.ca.parent / "other", "other").issue("server")


UNTRUSTED = {
    "of another authority": Untrusted(
        by_another, "BAD_CERTIFICATE", "its certificate is not trusted here: unable to get local"
    ),
    "expired": Untrusted(
        lambda ca: ca.expired("server"),
        "BAD_CERTIFICATE",
        "its certificate is not trusted here: certificate has expired",
    ),
    "of another host": Untrusted(
        lambda ca: ca.issue("server", ["DNS:elsewhere.example"]),
        "BAD_CERTIFICATE",
        "its certificate is for other names than this one",
    ),
    "in the clear": Untrusted(lambda ca: None, "NO_TLS", "it does not speak TLS"),
}


class Met(NamedTuple):
    """A server that runs, and whom its clients trust."""

    address: str
    ca: Path
    reason: str
    said: str


@pytest.fixture(params=UNTRUSTED)
def met(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Met]:
    untrusted = UNTRUSTED[request.param]
    authority = Authority(tmp_path)
    pair = untrusted.shows(authority)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_CascadeServiceServicer_to_server(ScriptedCloud(), server)
    if pair is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        keys = [(pair.key.read_bytes(), pair.cert.read_bytes())]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(keys))
    server.start()
    yield Met(f"127.0.0.1:{port}", authority.ca, untrusted.reason, untrusted.said)
    server.stop(None).wait()


@needs_openssl
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.generate(REQUEST),
        lambda client: list(client.stream(REQUEST)),
        lambda client: client.model_info(),
    ],
)
def test_it_is_asked_once(
    met: Met, jumping_clock: Any, ask: Callable[[CloudClient], object]
) -> None:
    client = CloudClient(met.address, deadline_s=60.0, ca_cert=met.ca, clock=jumping_clock)
    with pytest.raises(CloudError) as failure:
        ask(client)
    client.close()
    assert failure.value.reason == met.reason
    assert str(failure.value).startswith(f"{met.reason}: cloud {met.address}: {met.said}")
    assert str(failure.value).endswith("(1 attempt)")
    assert failure.value.cause == "link"


@needs_openssl
def test_a_query_is_degraded_as_in_any_outage(met: Met, float_artifact: Path) -> None:
    options = OpenOptions(threshold=-1.0, ca_cert=met.ca, deadline_s=60.0)
    with EdgeClient.open(float_artifact, options, cloud=met.address) as client:
        answer = client.ask("g2p: cat")
    assert answer.outcome == "degraded"
    assert answer.reason is not None
    assert answer.reason.startswith(f"{met.reason}: ")


@needs_openssl
def test_a_probe_says_the_reason(met: Met) -> None:
    asked = CliRunner().invoke(app, ["health", met.address, "--ca-cert", str(met.ca)])
    assert asked.exit_code != 0
    assert str(asked.exception).startswith(f"{met.address}: {met.reason}: {met.said}")


@pytest.mark.parametrize("details", [None, "", "Socket closed", "Connection refused"])
def test_what_may_pass_is_no_mistrust(details: str | None) -> None:
    assert mistrust_of(details) is None
