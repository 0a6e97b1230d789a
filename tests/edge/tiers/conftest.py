"""Five artifacts that can vote with one another, opened, and tiers of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from held_runtime import HeldRuntime

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.deferral import Gate, Vote
from escalade.edge.tiers import EnsembleTier, Member, RemoteTier, Tier


@pytest.fixture(scope="session")
def five(
    folders: list[Path],
    tiny_model_dir: Path,
    other_model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Member]:
    """Two that always agree, one that never does, and both models once more in 8 bits."""
    from escalade.export.artifact.artifact import export_artifact

    out = tmp_path_factory.mktemp("five")
    for name, model in (("tiny", tiny_model_dir), ("other", other_model_dir)):
        export_artifact(
            model, out / name, quantize="int8", golden_prompts=["g2p: a"], max_new_tokens=47
        )
    return [Member(Artifact.open(folder)) for folder in (*folders, out / "tiny", out / "other")]


@pytest.fixture
def make_vote(
    five: list[Member], make_remote: Callable[..., RemoteTier], jumping_clock: Any
) -> Callable[..., EdgeClient]:
    """A client of an ensemble and, unless told otherwise, the scripted cloud."""

    def make(
        threshold: float | None,
        *,
        order: tuple[int, ...] = (0, 1, 2),
        cloud: bool = True,
        side_by_side: bool = False,
        trace: Path | None = None,
        **options: Any,
    ) -> EdgeClient:
        members = [five[index] for index in order]
        tiers: list[Tier] = [EnsembleTier(members, side_by_side=side_by_side)]
        gates: list[Gate | None] = [Gate(rule=Vote(), threshold=threshold)]
        if cloud:
            tiers.append(make_remote(reader=members[0], **options))
            gates.append(None)
        return EdgeClient(Cascade(tiers=tiers, gates=gates, clock=jumping_clock), trace=trace)

    return make


@pytest.fixture
def held(five: list[Member]) -> Callable[..., tuple[Member, HeldRuntime]]:
    """A member of whose runtime the test has hold."""

    def make(index: int, **options: Any) -> tuple[Member, HeldRuntime]:
        artifact = five[index].artifact
        runtime = HeldRuntime(artifact._runtime, **options)
        again = Artifact(
            artifact.folder,
            artifact.manifest,
            runtime,  # type: ignore[arg-type]
            artifact._tokenizer,
            rule=artifact.rule,
        )
        return Member(again), runtime

    return make


@pytest.fixture
def client_of(make_remote: Callable[..., RemoteTier], jumping_clock: Any) -> Any:
    def make(members: Sequence[Member], threshold: float, *, cloud: bool = True) -> EdgeClient:
        tiers: list[Tier] = [EnsembleTier(members, side_by_side=True)]
        gates: list[Gate | None] = [Gate(rule=Vote(), threshold=threshold)]
        if cloud:
            tiers.append(make_remote(reader=members[0]))
            gates.append(None)
        return EdgeClient(Cascade(tiers=tiers, gates=gates, clock=jumping_clock))

    return make
