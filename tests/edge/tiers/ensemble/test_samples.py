"""One model that answers several times: drawn by seed, one program in memory."""

from __future__ import annotations

from typing import Any

import pytest

from escalade.edge import Cascade, EdgeClient, Query, Sampling
from escalade.edge.deferral import Gate, Vote
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes import Draw
from escalade.edge.tiers import EnsembleTier, Member

PROMPT = "g2p: cascade"


def client_of(member: Member, clock: Any, *, seed: int = 0, samples: int = 4) -> EdgeClient:
    sampling = Sampling(temperature=5.0, seed=seed)  # random weights: so hot that answers differ
    members = [Member(member.artifact, draw=Draw(sampling, k)) for k in range(samples)]
    gate = Gate(rule=Vote(), threshold=None)
    return EdgeClient(Cascade(tiers=[EnsembleTier(members)], gates=[gate], clock=clock))


def texts(client: EdgeClient, query: Query | str) -> list[str | None]:
    return [one.text for one in client.ask(query, shadow=True).said.members]


def test_the_same_seed_draws_the_same_answers_and_another_others(
    five: list[Member], jumping_clock: Any
) -> None:
    first = texts(client_of(five[0], jumping_clock), PROMPT)
    assert len(set(first)) == 4  # by numbers of their own each
    assert texts(client_of(five[0], jumping_clock), PROMPT) == first
    # More samples are these and more.
    assert texts(client_of(five[0], jumping_clock, samples=6), PROMPT)[:4] == first
    assert set(texts(client_of(five[0], jumping_clock, seed=1), PROMPT)).isdisjoint(first)
    artifact = five[0].artifact
    ids = artifact.encode(PROMPT)
    for place, text in enumerate(first):
        sampling = Draw(Sampling(temperature=5.0), place).of(None, ids)
        assert artifact.text_of(artifact.generate(ids, sampling=sampling)) == text


def test_what_the_caller_asks_for_is_drawn_too(five: list[Member], jumping_clock: Any) -> None:
    client = client_of(five[0], jumping_clock)
    cold = Query(text=PROMPT, sampling=Sampling(temperature=1e-3))
    artifact = five[0].artifact
    ids = artifact.encode(PROMPT)
    greedy = artifact.text_of(artifact.generate(ids))
    assert texts(client, cold) == [greedy] * 4
    hot = [Query(text=PROMPT, sampling=Sampling(temperature=5.0, seed=seed)) for seed in (1, 2)]
    assert texts(client, hot[0]) != texts(client, hot[1])
    assert texts(client, hot[0]) == texts(client_of(five[0], jumping_clock, seed=1), PROMPT)


def test_seeds_differ_between_queries_and_places() -> None:
    sampling = Sampling(temperature=0.7, seed=3)
    seeds = {
        Draw(sampling, place).of(None, ids).seed for place in range(5) for ids in ([1], [2], [1, 2])
    }
    assert len(seeds) == 15
    assert Draw(sampling, 0).of(None, [1]).temperature == 0.7


def test_only_what_draws_may_speak_twice(five: list[Member]) -> None:
    drawn = [Member(five[0].artifact, draw=Draw(Sampling(), place)) for place in (0, 1, 1)]
    with pytest.raises(ArtifactError, match="one sample is there twice, and has one vote"):
        EnsembleTier(drawn)
    with pytest.raises(ArtifactError, match="samples are drawn one after the other"):
        EnsembleTier(drawn[:2], side_by_side=True)
