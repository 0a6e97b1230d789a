"""The process around the service: ports, TLS, signals, reflection, and what is imported."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from escalade.cloud.access import Limits, entry_of, make_token, with_entry
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.certificates import TlsFiles, tls_files
from escalade.cloud.errors import ListenError, ModelError, StartError, TlsError
from escalade.cloud.server import ServeOptions, serve
from escalade.cloud.service import SERVICE_NAME
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

SERVER = """
import gc, sys, threading
from escalade.cloud.backends import transformers_factory
from escalade.cloud.server import ServeOptions, run_server

run_server(
    transformers_factory(sys.argv[1], threads=1),
    ServeOptions(listen="127.0.0.1:0"),
    on_ready=lambda address: print(address, gc.get_freeze_count(), flush=True),
)
gc.unfreeze()
gc.collect()
print("ended beside", *(one.name for one in threading.enumerate()), sep=", ", flush=True)
"""

GUARDED = """
import logging, sys
from pathlib import Path
from escalade.cloud.access import AccessOptions
from escalade.cloud.backends import transformers_factory
from escalade.cloud.server import ServeOptions, run_server

log = logging.getLogger("escalade.cloud.rereading")
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler(sys.stdout))
run_server(
    transformers_factory(sys.argv[1], threads=1, deterministic=True),
    ServeOptions(listen="127.0.0.1:0", access=AccessOptions(tokens=Path(sys.argv[2]))),
    on_ready=lambda address: print(address, flush=True),
)
print("ended", flush=True)
"""


def start_failure(engine: Any, **options: Any) -> StartError:
    """What `serve` raises instead of serving."""

    async def main() -> None:
        stop = asyncio.Event()
        # Should it serve against all expectation, it must not serve for ever.
        stop.set()
        await serve(partial(EmbeddedBackend, lambda: engine), ServeOptions(**options), stop=stop)

    with pytest.raises(StartError) as failure:
        asyncio.run(main())
    assert "\n" not in str(failure.value)
    return failure.value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_real_process_well(tiny_model: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tiny_model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address, frozen = process.stdout.readline().split()
            assert int(frozen) > 10_000, "the collector looks through what was loaded"
            with grpc.insecure_channel(address) as channel:
                answer = pb_grpc.CascadeServiceStub(channel).Generate(
                    pb.GenerateRequest(prompt=pb.Prompt(text="w01")), timeout=60
                )
            assert answer.token_ids
            process.send_signal(number)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    # Nothing waited for gRPC's own thread, which may wait for ever.
    assert re.fullmatch(r"ended beside, MainThread, .*_poll_wrapper.*\n", output)
    assert "Traceback" not in errors


def test_a_hangup_has_the_tokens_read_at_once_and_ends_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", GUARDED, str(tiny_model), str(tokens)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address = process.stdout.readline().strip()
            token = make_token()
            tokens.write_text(with_entry("", "phone", entry_of(token, Limits(), None)))
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == f"{tokens}: read again\n"
            tokens.write_text("no tokens")
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline().startswith(f"{tokens}: ")
            with grpc.insecure_channel(address) as channel:
                info = pb_grpc.CascadeServiceStub(channel).GetModelInfo(
                    pb.GetModelInfoRequest(),
                    timeout=60,
                    metadata=(("authorization", f"Bearer {token}"),),
                )
            assert info.model.name == "tiny"
            process.terminate()
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "ended\n"), errors


def test_port_in_use_is_named(serving: Any, engine: Any) -> None:
    async def main() -> ListenError:
        async with serving(engine) as running:
            with pytest.raises(ListenError) as failure:
                await serve(
                    partial(EmbeddedBackend, lambda: engine),
                    ServeOptions(listen=running.address),
                    stop=asyncio.Event(),
                )
            assert running.address in str(failure.value)
            # The first one is none the worse for it.
            await running.stub.GetModelInfo(pb.GetModelInfoRequest())
            return failure.value

    assert "port" in str(asyncio.run(main()))


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051", "example.org:1"])
def test_exposed_address_needs_tls(engine: Any, listen: str) -> None:
    failure = start_failure(engine, listen=listen)
    assert isinstance(failure, ListenError)
    assert "without TLS" in str(failure)
    assert listen in str(failure)


@pytest.mark.parametrize(
    "listen", ["", "50051", "127.0.0.1", "127.0.0.1:70000", ":50051", "127.0.0.1:x", "a@b:1", "[:1"]
)
def test_malformed_address_is_refused(engine: Any, listen: str) -> None:
    failure = start_failure(engine, listen=listen)
    assert isinstance(failure, ListenError)
    assert "HOST:PORT" in str(failure)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    files = TlsFiles(folder / "cert.pem", folder / "key.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    output = ["-keyout", str(files.key), "-out", str(files.cert)]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *output],
        check=True,
        capture_output=True,
    )
    return files


def test_tls_serves_any_address(serving: Any, engine: Any, certificate: TlsFiles) -> None:
    async def main() -> None:
        async with serving(engine, listen="0.0.0.0:0", tls=certificate) as running:
            port = running.address.rpartition(":")[2]
            trusted = grpc.ssl_channel_credentials(certificate.cert.read_bytes())
            async with grpc.aio.secure_channel(f"localhost:{port}", trusted) as channel:
                info = await pb_grpc.CascadeServiceStub(channel).GetModelInfo(
                    pb.GetModelInfoRequest(), timeout=60
                )
            assert info.model.name == "tiny"
            plain = running.stub.GetModelInfo(pb.GetModelInfoRequest(), timeout=5)
            assert await plain.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_tls_files_that_do_not_load(engine: Any, certificate: TlsFiles, tmp_path: Path) -> None:
    swapped = TlsFiles(certificate.key, certificate.cert)
    missing = TlsFiles(tmp_path / "none.pem", certificate.key)
    for files in (swapped, missing):
        failure = start_failure(engine, listen="127.0.0.1:0", tls=files)
        assert isinstance(failure, TlsError)
        assert str(files.cert) in str(failure)


def test_tls_files_come_in_pairs(tmp_path: Path) -> None:
    assert tls_files(None, None) is None
    assert tls_files(tmp_path / "c", tmp_path / "k") == (tmp_path / "c", tmp_path / "k", None)
    with pytest.raises(TlsError, match="the key is missing"):
        tls_files(tmp_path / "c", None)
    with pytest.raises(TlsError, match="the certificate is missing"):
        tls_files(None, tmp_path / "k")


@pytest.mark.parametrize(
    ("option", "value"),
    [("queue_capacity", 0), ("answers_kept", 0), ("grace_s", -1.0), ("grace_s", float("nan"))],
)
def test_options_out_of_range(option: str, value: float) -> None:
    with pytest.raises(StartError, match=f"{option}: must be at least"):
        ServeOptions(**{option: value})


def test_model_that_does_not_load_ends_the_start() -> None:
    def load() -> Any:
        raise ModelError("models/none: no such folder")

    async def main() -> None:
        options = ServeOptions(listen="127.0.0.1:0")
        await serve(partial(EmbeddedBackend, load), options, stop=asyncio.Event())

    with pytest.raises(ModelError, match="models/none"):
        asyncio.run(main())


def test_reflection_lists_the_services(serving: Any, engine: Any) -> None:
    async def main() -> set[str]:
        async with serving(engine) as running:
            stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
            call = stub.ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await call.done_writing()
            answer = await call.read()
            return {service.name for service in answer.list_services_response.service}

    assert asyncio.run(main()) == {
        SERVICE_NAME,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_serving_code_imports_no_torch() -> None:
    code = (
        "import sys, escalade.cloud.server, escalade.cloud.service, escalade.cloud.backends\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
