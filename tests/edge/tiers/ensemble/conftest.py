"""Three members at addresses, and clients of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from held import HELD_S
from scripted import ScriptedCloud, scripted

from escalade.edge import Cascade, EdgeClient
from escalade.edge.deferral import Gate, agreement_named
from escalade.edge.outbox import OutboxOptions
from escalade.edge.tiers import (
    ArtifactTier,
    Member,
    RemoteEnsembleTier,
    RemoteMember,
    RemoteTier,
    Tier,
)
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

NEVER, ALWAYS = 1e9, -1.0


@pytest.fixture
def clouds() -> Iterator[list[ScriptedCloud]]:
    """Three that say a, a and b, and who they are."""
    with scripted() as one, scripted() as two, scripted() as three:
        for cloud, text, size in ((one, "a", 10), (two, "a", 20), (three, "b", 30)):
            cloud.says(text=text)
            cloud.info = pb.GetModelInfoResponse(
                model=pb.ModelIdentity(name=f"model-{size}", revision=f"{size}"),
                parameter_count=size,
                engine="scripted",
            )
        yield [one, two, three]


@pytest.fixture
def vote(clouds: list[ScriptedCloud], artifact: Any, tmp_path: Path) -> Iterator[Any]:
    """Makes a client of members at addresses, with tiers below and above where they are asked for.

    The clock is the machine's: who is held is held until the test says so.
    """
    made: list[EdgeClient] = []

    def make(
        threshold: float | None = None,
        *,
        rule: str = "vote",
        weights: Sequence[float] = (1.0, 1.0, 1.0),
        addresses: Sequence[str] | None = None,
        deadline_s: float = HELD_S,
        above: str | None = None,
        below: bool = False,
        prices: Sequence[float] = (0.0, 0.0, 0.0),
        **options: Any,
    ) -> EdgeClient:
        members = [
            RemoteMember(
                RemoteTier(CloudClient(address, deadline_s=deadline_s), generated_price=price),
                weight,
            )
            for address, weight, price in zip(
                addresses or [cloud.address for cloud in clouds], weights, prices, strict=True
            )
        ]
        tiers: list[Tier] = [RemoteEnsembleTier(members, name="panel")]
        gates: list[Gate | None] = [Gate(rule=agreement_named(rule), threshold=threshold)]
        if below:
            tiers.insert(0, ArtifactTier(Member(artifact), name="device"))
            gates.insert(0, Gate(rule=artifact.rule, threshold=ALWAYS))
            gates[-1] = None if above is None else gates[-1]
        if above is not None:
            tiers.append(RemoteTier(CloudClient(above, deadline_s=2.0), name="large"))
            gates.append(None)
        kept = OutboxOptions(tmp_path / "outbox.sqlite", "here") if options.pop("keep", 0) else None
        cascade = Cascade(tiers=tiers, gates=gates, outbox=kept)
        made.append(EdgeClient(cascade, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()
