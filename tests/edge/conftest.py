"""A cloud that answers as a test tells it to, on a real socket; models, and cascades of them."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.artifact.manifest import read_manifest, write_manifest
from escalade.edge.deferral import Gate
from escalade.edge.tiers import ArtifactTier, Member, RemoteTier, Tier
from escalade.edge.wire import CloudClient
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


@dataclass
class ScriptedCloud(pb_grpc.CascadeServiceServicer):
    """Plays `replies` in turn, the last one for ever; remembers what it was asked."""

    replies: list[Reply] = field(default_factory=lambda: [good_reply])
    asked: list[pb.GenerateRequest] = field(default_factory=list)
    #: Seconds that each request had left.
    left_s: list[float] = field(default_factory=list)
    #: Who it is; a gateway describes its tiers.
    info: pb.GetModelInfoResponse = field(
        default_factory=lambda: pb.GetModelInfoResponse(
            model=pb.ModelIdentity(name="scripted-large"), parameter_count=1000
        )
    )
    address: str = ""

    def Generate(
        self, request: pb.GenerateRequest, context: grpc.ServicerContext
    ) -> pb.GenerateResponse:
        reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
        self.asked.append(request)
        self.left_s.append(context.time_remaining())
        return reply(request, context)

    def GetModelInfo(
        self, request: pb.GetModelInfoRequest, context: grpc.ServicerContext
    ) -> pb.GetModelInfoResponse:
        return self.info

    def says(self, **changed: Any) -> None:
        """From now on it answers well but for these fields of the response."""

        def reply(
            request: pb.GenerateRequest, context: grpc.ServicerContext
        ) -> pb.GenerateResponse:
            answer = good_reply(request, context)
            answer.MergeFrom(pb.GenerateResponse(**changed))
            return answer

        self.replies = [reply]

    def fails(self) -> None:
        """From now on it refuses, for good."""

        def boom(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.UNKNOWN, "as the test asked")

        self.replies = [boom]


@pytest.fixture
def make_cloud() -> Iterator[Callable[[], ScriptedCloud]]:
    """Start a scripted cloud; a test may have several."""
    servers: list[grpc.Server] = []

    def make() -> ScriptedCloud:
        cloud = ScriptedCloud()
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        pb_grpc.add_CascadeServiceServicer_to_server(cloud, server)
        cloud.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        servers.append(server)
        return cloud

    yield make
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def scripted_cloud(make_cloud: Callable[[], ScriptedCloud]) -> ScriptedCloud:
    return make_cloud()


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
    from escalade.export.artifact import export_artifact

    out = tmp_path_factory.mktemp("members")
    export_artifact(
        other_model_dir, out / "other", golden_prompts=["g2p: cascade"], max_new_tokens=47
    )
    again = Path(shutil.copytree(float_artifact, out / "again"))
    write_manifest(again, msgspec.structs.replace(read_manifest(again), created="later"))
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
