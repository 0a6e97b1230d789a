"""A cascade under a policy, and a capture of all that goes to its cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from relay import Relay, relay_to
from scripted import ScriptedCloud

from escalade.edge import Artifact, EdgeClient, OpenOptions
from escalade.edge.policy import Providers

YES = Providers(consent=lambda question: True)


@pytest.fixture
def relay(scripted_cloud: ScriptedCloud) -> Iterator[Relay]:
    """A capture of all that goes to the cloud."""
    with relay_to(scripted_cloud.address) as between:
        yield between


Open = Callable[..., EdgeClient]


@pytest.fixture
def opened(artifact: Artifact, relay: Relay, tmp_path: Path) -> Iterator[Open]:
    """A client of a file that defers everything to a cloud behind the capture."""
    made: list[EdgeClient] = []

    def make(
        policy: str,
        providers: Providers = YES,
        *,
        tier: str | None = None,
        more: str = "",
        gate: str = "threshold = -1.0",
        trace: Path | None = None,
        small: Path = artifact.folder,
    ) -> EdgeClient:
        path = tmp_path / "cascade.toml"
        tier = tier or f'address = "{relay.address}"'
        path.write_text(
            f'{more}\n[policy]\nbudget_file = "budget.sqlite"\n{policy}\n'
            f'[[tiers]]\nname = "device"\nmembers = ["{small}"]\ngate = {{ {gate} }}\n'
            f'[[tiers]]\nname = "cloud"\ndeadline_s = 5\n{tier}\n'
        )
        made.append(EdgeClient.open(path, OpenOptions(policy=providers), trace=trace))
        return made[-1]

    yield make
    for one in made:
        one.close()
