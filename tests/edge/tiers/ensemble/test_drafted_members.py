"""What one model on the device said is read as a draft by the next one: a member, or a tier."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.deferral import Gate, agreement_named
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member

PROMPT = "g2p: cascade"
HALF = 0.5

MakeVote = Callable[..., EdgeClient]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[OnnxRuntime, int]]:
    """Every run of a program: whose, and of how many tokens."""
    runs: list[tuple[OnnxRuntime, int]] = []
    run = OnnxRuntime._run

    def noted(self: OnnxRuntime, binding: object, new: list[int]) -> None:
        runs.append((self, len(new)))
        run(self, binding, new)

    monkeypatch.setattr(OnnxRuntime, "_run", noted)
    return runs


def lengths(read: list[tuple[OnnxRuntime, int]], member: Member) -> list[int]:
    return [length for runtime, length in read if runtime is member.artifact._runtime]


def test_a_member_that_agrees_reads_the_first_answer_in_one_piece_after_another(
    make_vote: MakeVote, five: list[Member], read: list[tuple[OnnxRuntime, int]]
) -> None:
    answer = make_vote(HALF, order=(0, 1, 2)).ask(PROMPT)
    first, second = answer.said.members
    assert first.text == second.text
    prompt, said = first.prompt_tokens, first.generated_tokens
    assert lengths(read, five[0]) == [prompt] + [1] * (said - 1)
    assert lengths(read, five[1])[0] == prompt + 8
    assert len(lengths(read, five[1])) < said / 6
    assert sum(lengths(read, five[1])) == prompt + said - 1


def test_a_member_that_differs_says_what_it_says_alone(
    make_vote: MakeVote, five: list[Member], read: list[tuple[OnnxRuntime, int]]
) -> None:
    alone = five[2].artifact.generate(five[2].artifact.encode(PROMPT))
    read.clear()
    answer = make_vote(HALF, order=(0, 2), cloud=False).ask(PROMPT)
    mine = answer.said.members[1]
    assert mine.text == five[2].artifact.text_of(alone)
    assert mine.logprobs == pytest.approx([step.logprob for step in alone], abs=1e-5)
    assert lengths(read, five[2])[0] > mine.prompt_tokens


def test_where_all_are_wanted_each_takes_the_time_that_it_takes_by_itself(
    make_vote: MakeVote, five: list[Member], read: list[tuple[OnnxRuntime, int]]
) -> None:
    answer = make_vote(HALF, order=(0, 1, 2)).ask(PROMPT, shadow=True)
    for place, one in enumerate(answer.said.members):
        prompt, said = one.prompt_tokens, one.generated_tokens
        assert lengths(read, five[place]) == [prompt] + [1] * (said - 1)


def test_where_the_vote_hangs_on_log_probabilities_none_is_read(
    five: list[Member], read: list[tuple[OnnxRuntime, int]]
) -> None:
    tier = EnsembleTier([five[0], five[1]])
    client = EdgeClient(
        Cascade(tiers=[tier], gates=[Gate(rule=agreement_named("mean-score"), threshold=HALF)])
    )
    first, second = client.ask(PROMPT).said.members
    assert second.logprobs == first.logprobs
    assert set(lengths(read, five[1])) == {second.prompt_tokens, 1}


def test_a_tier_whose_own_score_decides_reads_none(
    five: list[Member], read: list[tuple[OnnxRuntime, int]]
) -> None:
    below, above = five[0], five[2]
    tiers = [ArtifactTier(below, name="below"), ArtifactTier(above, name="above")]
    gates = [Gate(rule=one.artifact.rule, threshold=-1.0) for one in (below, above)]
    answer = EdgeClient(Cascade(tiers=tiers, gates=gates)).ask(PROMPT)
    assert answer.tiers[1] is not None
    assert set(lengths(read, above)) == {answer.tiers[1].members[0].prompt_tokens, 1}


def test_the_last_tier_on_the_device_reads_what_was_deferred(
    five: list[Member], read: list[tuple[OnnxRuntime, int]]
) -> None:
    below, above = five[0], Member(Artifact.open(five[1].artifact.folder, threads=1))
    gate = Gate(rule=below.artifact.rule, threshold=-1.0)
    tiers = [ArtifactTier(below, name="below"), ArtifactTier(above, name="above")]
    client = EdgeClient(Cascade(tiers=tiers, gates=[gate, None]))
    read.clear()  # opening asks a golden prompt
    answer = client.ask(PROMPT)
    assert answer.outcome == "deferred"
    alone = above.artifact.generate(above.artifact.encode(PROMPT))
    assert answer.text == above.artifact.text_of(alone)
    drafted, plain = lengths(read, above)[0], lengths(read, below)[0]
    assert drafted == plain + 8
    read.clear()
    client.ask(PROMPT, shadow=True)
    assert set(lengths(read, above)) == {plain, 1}
