"""A scripted cloud, models, and cascades of them."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scripted import ScriptedCloud, scripted

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.artifact.manifest import read_manifest, write_manifest
from escalade.edge.deferral import Gate
from escalade.edge.tiers import ArtifactTier, Member, RemoteTier, Tier
from escalade.edge.wire import CloudClient


@pytest.fixture
def scripted_cloud() -> Iterator[ScriptedCloud]:
    with scripted() as cloud:
        yield cloud


@pytest.fixture
def proxy_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a proxy that the environment names is asked: `CONNECT HOST:PORT` or `GET ADDRESS`."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        asked.append(" ".join(connection.recv(1 << 16).decode().split()[:2]))
                        connection.sendall(b"HTTP/1.1 502 no\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        yield asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def nobody() -> str:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="session")
def artifact(float_artifact: Path) -> Artifact:
    return Artifact.open(float_artifact)


@pytest.fixture(scope="session")
def folders(
    float_artifact: Path, other_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two artifacts that always agree and one that never does; for ensembles. Not to be changed."""
    from escalade.export.artifact.artifact import export_artifact

    out = tmp_path_factory.mktemp("members")
    export_artifact(
        other_model_dir, out / "other", golden_prompts=["g2p: cascade"], max_new_tokens=47
    )
    again = Path(shutil.copytree(float_artifact, out / "again"))
    manifest = read_manifest(again)
    model = msgspec.structs.replace(manifest.model, revision="later")  # or it were the same model
    write_manifest(again, msgspec.structs.replace(manifest, model=model))
    return [float_artifact, again, out / "other"]


@pytest.fixture(scope="session")
def members(folders: list[Path]) -> list[Member]:
    return [Member(Artifact.open(folder)) for folder in folders]


@pytest.fixture
def make_remote(scripted_cloud: ScriptedCloud, jumping_clock: Any) -> Callable[..., RemoteTier]:
    """A tier at an address: the scripted cloud's, unless another is given."""

    def make(address: str | None = None, *, deadline_s: float = 10.0, **options: Any) -> RemoteTier:
        channel = CloudClient(
            address or scripted_cloud.address, deadline_s=deadline_s, clock=jumping_clock
        )
        return RemoteTier(channel, **options)

    return make


@pytest.fixture
def make_client(
    artifact: Artifact, make_remote: Callable[..., RemoteTier], jumping_clock: Any
) -> Iterator[Callable[..., EdgeClient]]:
    """A client of an artifact and, unless told otherwise, the scripted cloud."""
    made: list[EdgeClient] = []

    def make(
        threshold: float | None,
        *,
        of: Artifact = artifact,
        cloud: bool = True,
        address: str | None = None,
        early: Any = "off",
        trace: Path | None = None,
        **options: Any,
    ) -> EdgeClient:
        member = Member(of)
        gate = Gate(
            rule=of.rule, threshold=threshold, early=early, likely=of.manifest.deferral.early
        )
        tiers: list[Tier] = [ArtifactTier(member, name="device")]
        gates: list[Gate | None] = [gate]
        if cloud:
            tiers.append(make_remote(address, reader=member, **options))
            gates.append(None)
        cascade = Cascade(tiers=tiers, gates=gates, clock=jumping_clock)
        made.append(EdgeClient(cascade, trace=trace))
        return made[-1]

    yield make
    for client in made:
        client.close()
