"""TLS on loopback, asked for by certificates or by name: a forwarded port leads to a TLS server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from scripted import ScriptedCloud
from typer.testing import CliRunner

from escalade.cli.main import app
from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.errors import CascadeError, CloudError
from escalade.edge.wire import CloudClient
from escalade.training.errors import TeacherError
from escalade.training.teachers import CloudScorer
from escalade.v1 import cascade_pb2_grpc as pb_grpc

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


class Secure(NamedTuple):
    address: str
    ca_cert: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """A server that speaks TLS alone, on loopback."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=x"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_CascadeServiceServicer_to_server(ScriptedCloud(), server)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield Secure(f"127.0.0.1:{port}", cert)
    server.stop(None).wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "localhost."])
def test_whoever_names_certificates_speaks_tls(secure: Secure, host: str) -> None:
    address = f"{host}:{secure.address.rpartition(':')[2]}"
    client = CloudClient(address, ca_cert=secure.ca_cert)
    assert client.model_info().model.name == "scripted-large"
    client.close()


@pytest.mark.parametrize("words", ["", "tls = true"])
def test_a_cascade_file_says_so(
    secure: Secure, float_artifact: Path, tmp_path: Path, words: str
) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(
        f'[[tiers]]\nmembers = ["{float_artifact}"]\ngate = {{ threshold = -1.0 }}\n'
        f'[[tiers]]\naddress = "{secure.address}"\nca_cert = "{secure.ca_cert}"\n{words}\n'
    )
    with EdgeClient.open(path) as client:
        assert client.ask("g2p: cat").outcome == "deferred"


def test_a_command_line_says_so(secure: Secure, float_artifact: Path) -> None:
    where = ["ask", str(float_artifact), "g2p: cat", "--threshold", "-1", "--cloud", secure.address]
    ca = ["--ca-cert", str(secure.ca_cert)]
    assert CliRunner().invoke(app, [*where, *ca]).exit_code == 0
    assert CliRunner().invoke(app, [*where, *ca, "--tls"]).exit_code == 0


def test_a_probe_speaks_tls_too(secure: Secure) -> None:
    asked = CliRunner().invoke(app, ["health", secure.address, "--ca-cert", str(secure.ca_cert)])
    # This server is no cascade's, and has no health; it was heard, which takes TLS.
    assert str(asked.exception).startswith(f"{secure.address}: UNIMPLEMENTED")


def test_the_systems_certificates_do_for_tls(
    secure: Secure, float_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.ca_cert))
    options = OpenOptions(threshold=-1.0, tls=True)
    with EdgeClient.open(float_artifact, options, cloud=secure.address) as client:
        assert client.ask("g2p: cat").outcome == "deferred"


def test_who_is_not_trusted_is_not_told(secure: Secure) -> None:
    client = CloudClient(secure.address, deadline_s=60.0, plaintext=False)
    with pytest.raises(CloudError, match="BAD_CERTIFICATE"):
        client.model_info()
    client.close()


def test_a_teacher_is_asked_over_tls(secure: Secure) -> None:
    scorer = CloudScorer(secure.address, tokenizer_fingerprint="f", ca_cert=secure.ca_cert)
    with pytest.raises(TeacherError, match="this server does not offer Score"):
        scorer.info()
    scorer.close()


def test_contradictions_are_refused(secure: Secure, float_artifact: Path, tmp_path: Path) -> None:
    def open_with(**options: object) -> None:
        EdgeClient.open(
            float_artifact,
            OpenOptions(threshold=-1.0, **options),  # type: ignore[arg-type]
            cloud=secure.address,
        )

    with pytest.raises(CascadeError, match="tls and plaintext exclude each other"):
        open_with(tls=True, plaintext=True)
    with pytest.raises(CloudError, match="plaintext and certificates .* exclude each other"):
        open_with(plaintext=True, ca_cert=secure.ca_cert)
    none = tmp_path / "none.pem"
    none.write_text("no certificate")
    with pytest.raises(CloudError, match=r"none.pem: holds no certificates \(PEM\)"):
        open_with(ca_cert=none)
