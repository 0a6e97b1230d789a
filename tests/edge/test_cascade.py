"""Cascades of real tiers, one to four of them: each way that a query can end in each tier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import Answer, Artifact, Cascade, EdgeClient, Query
from escalade.edge.deferral import Gate, Vote, mean_nll
from escalade.edge.errors import CalibrationError, CascadeError, CloudError
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member, RemoteTier, Tier
from escalade.edge.trace import read_trace

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9
# A vote scores 0 to 1.
NAMES = ["small", "vote", "medium", "cloud"]

Make = Callable[..., EdgeClient]


@pytest.fixture(scope="module")
def devices(folders: list[Path]) -> list[Tier]:
    """One model, three that vote, another model; each opened for itself."""
    trio = [Member(Artifact.open(folder)) for folder in folders]
    return [
        ArtifactTier(Member(Artifact.open(folders[0])), name="small"),
        EnsembleTier(trio, name="vote"),
        ArtifactTier(Member(Artifact.open(folders[2])), name="medium"),
    ]


@pytest.fixture
def make(devices: list[Tier], make_remote: Callable[..., RemoteTier], jumping_clock: Any) -> Any:
    made: list[EdgeClient] = []

    def make(
        *thresholds: float, silent: bool = False, trace: Path | None = None, early: Any = "off"
    ) -> EdgeClient:
        """As many tiers as thresholds and one more: the first of the devices, then the cloud."""
        count = len(thresholds)
        remote = make_remote(name="cloud", reader=devices[0].opened[0])
        tiers = [*devices[:count], remote]
        gates: list[Gate | None] = [
            Gate(
                rule=Vote() if index == 1 else mean_nll,
                threshold=threshold,
                early="off" if index == 1 else early,
            )
            for index, threshold in enumerate(thresholds)
        ]
        cascade = Cascade(tiers=tiers, gates=[*gates, None], clock=jumping_clock)
        made.append(EdgeClient(cascade, trace=trace))
        return made[-1]

    yield make
    for client in made:
        client.close()


def gave(answer: Answer) -> list[int]:
    """The tiers that said something."""
    return [index for index, said in enumerate(answer.tiers) if said is not None]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_query_is_answered_by_the_first_tier_whose_gate_lets_it_stand(
    make: Make, scripted_cloud: Any, count: int
) -> None:
    for stands in range(count):
        scripted_cloud.asked.clear()
        thresholds = [ALWAYS] * stands + [NEVER] * (count - 1 - stands)
        answer = make(*thresholds).ask(PROMPT)
        assert answer.answered_by == stands
        assert answer.outcome == ("answered" if stands == 0 else "deferred")
        assert gave(answer) == list(range(stands + 1))
        assert answer.text == answer.said.text
        assert len(scripted_cloud.asked) == (stands == count - 1)
        assert answer.tier == ([*NAMES[: count - 1], "cloud"][stands])
        assert answer.place == ("cloud" if stands == count - 1 else "device")
        assert answer.would_defer == (stands == count - 1)
        assert answer.threshold == (thresholds[stands] if stands < count - 1 else ALWAYS)
        assert answer.reason is None
        assert answer.total_s >= sum(one.seconds for one in answer.tiers if one is not None)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_where_the_last_tier_is_silent_the_highest_answer_stands(
    make: Make, scripted_cloud: Any, count: int
) -> None:
    scripted_cloud.fails()
    answer = make(*[ALWAYS] * (count - 1)).ask(PROMPT)
    assert (answer.outcome, answer.answered_by) == ("degraded", count - 2)
    assert gave(answer) == list(range(count - 1))
    assert answer.reason is not None
    assert answer.reason.startswith("UNKNOWN: cloud")
    assert (answer.would_defer, answer.threshold) == (True, ALWAYS)
    whole = make(*[ALWAYS] * (count - 2), NEVER).ask(PROMPT)
    assert answer.text == whole.text  # the vote, too, was finished


def test_the_draft_of_the_tier_below_travels_and_a_vote_sends_none(
    make: Make, scripted_cloud: Any, devices: list[Tier]
) -> None:
    answer = make(ALWAYS, ALWAYS, ALWAYS).ask(PROMPT)
    make(ALWAYS, ALWAYS).ask(PROMPT)
    after_medium, after_vote = scripted_cloud.asked
    medium = answer.tiers[2]
    assert medium is not None
    member = devices[2].opened[0]
    assert member.artifact.decode(list(after_medium.draft.tokens.ids)) == medium.text
    assert after_medium.draft.score == pytest.approx(medium.score)
    assert after_medium.draft.tokens.tokenizer_fingerprint == member.fingerprint
    assert not after_vote.HasField("draft")


@pytest.mark.parametrize("below", [True, False])
def test_a_silent_tier_in_the_middle_is_passed_over(
    devices: list[Tier],
    make_remote: Callable[..., RemoteTier],
    scripted_cloud: Any,
    jumping_clock: Any,
    tmp_path: Path,
    below: bool,
) -> None:
    scripted_cloud.fails()
    middle = make_remote(name="middle", reader=devices[0].opened[0])
    gate = Gate(rule=mean_nll, threshold=ALWAYS)
    tiers: list[Tier] = [devices[0], middle, devices[2]] if below else [middle, devices[2]]
    cascade = Cascade(tiers=tiers, gates=[gate] * (len(tiers) - 1) + [None], clock=jumping_clock)
    path = tmp_path / "t.jsonl"
    with EdgeClient(cascade, trace=path) as client:
        answer = client.ask(PROMPT)
    last = len(tiers) - 1
    assert (answer.outcome, answer.answered_by) == ("deferred", last)
    assert gave(answer) == [index for index in range(last + 1) if tiers[index] is not middle]
    assert answer.reason is not None
    assert "as the test asked" in answer.reason
    (record,) = read_trace(path).records
    assert (record.answered_by, record.reason) == (last, answer.reason)


def test_a_tier_elsewhere_in_the_middle_is_judged_by_its_own_words(
    devices: list[Tier],
    make_remote: Callable[..., RemoteTier],
    scripted_cloud: Any,
    jumping_clock: Any,
) -> None:
    middle = make_remote(name="middle", reader=devices[0].opened[0])
    for threshold, answered_by in ((1.5, 2), (1.6, 1)):
        gates = [Gate(rule=mean_nll, threshold=ALWAYS), Gate(rule=mean_nll, threshold=threshold)]
        cascade = Cascade(
            tiers=[devices[0], middle, devices[2]], gates=[*gates, None], clock=jumping_clock
        )
        scripted_cloud.says(token_ids=[5, 6], logprobs=[-1.0, -2.0])
        answer = EdgeClient(cascade).ask(PROMPT)
        assert answer.answered_by == answered_by
        assert scripted_cloud.asked[-1].output.logprobs
        said = answer.tiers[1]
        assert said is not None
        assert (said.score, said.members[0].logprobs) == (1.5, [-1.0, -2.0])
    scripted_cloud.says(token_ids=[5, 6])  # what it thought of it did not travel
    assert EdgeClient(cascade).ask(PROMPT).answered_by == 2


def test_where_no_tier_is_here_and_none_answers_the_query_is_refused(
    make_remote: Callable[..., RemoteTier], scripted_cloud: Any, nobody: str, jumping_clock: Any
) -> None:
    near = make_remote(nobody, name="near", place="gateway")
    far = make_remote(name="far")
    gates = [Gate(rule=mean_nll, threshold=0.5), None]
    client = EdgeClient(Cascade(tiers=[near, far], gates=gates, clock=jumping_clock))
    answer = client.ask(PROMPT)
    assert (answer.outcome, answer.answered_by, answer.prompt) == ("deferred", 1, PROMPT)
    assert (answer.score, answer.threshold, answer.would_defer) == (None, None, False)
    scripted_cloud.fails()
    with pytest.raises(CloudError, match="as the test asked"):
        client.ask(PROMPT)
    client.close()


THRESHOLDS = [(NEVER, NEVER, NEVER), (ALWAYS, NEVER, NEVER), (ALWAYS, ALWAYS, NEVER), (ALWAYS,) * 3]


@pytest.mark.parametrize("thresholds", THRESHOLDS)
@pytest.mark.parametrize("silent", [False, True])
def test_shadow_mode_asks_all_and_decides_the_same(
    make: Make, scripted_cloud: Any, thresholds: tuple[float, ...], silent: bool
) -> None:
    if silent:
        scripted_cloud.fails()
    plain = make(*thresholds).ask(PROMPT)
    shadow = make(*thresholds, early="certain").ask(PROMPT, shadow=True)
    assert (shadow.text, shadow.outcome) == (plain.text, plain.outcome)
    assert (shadow.answered_by, shadow.would_defer) == (plain.answered_by, plain.would_defer)
    assert gave(shadow) == ([0, 1, 2] if silent else [0, 1, 2, 3])
    for said in shadow.tiers:
        assert said is None or not said.stopped_early
    vote = shadow.tiers[1]
    assert vote is not None
    assert len(vote.members) == 3


def test_in_shadow_mode_an_answer_does_not_wait_for_the_tiers_above(
    make: Make, scripted_cloud: Any, jumping_clock: Any
) -> None:
    good = scripted_cloud.replies[0]

    def slow(request: Any, context: Any) -> Any:
        jumping_clock.sleep_s(100.0)
        return good(request, context)

    scripted_cloud.replies = [slow]
    assert make(NEVER, NEVER).ask(PROMPT, shadow=True).total_s < 100.0
    answer = make(ALWAYS, ALWAYS).ask(PROMPT, shadow=True)
    assert answer.total_s >= 100.0
    first, vote, cloud = answer.tiers
    assert first is not None
    assert vote is not None
    assert cloud is not None
    assert first.seconds < 100.0
    assert vote.seconds < 100.0
    assert cloud.seconds >= 100.0


def test_a_query_that_is_cancelled_at_any_stage_leaves_no_answer_and_no_record(
    make: Make, scripted_cloud: Any, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    scripted_cloud.fails()  # so that the vote has to be finished after it
    client = make(ALWAYS, ALWAYS, trace=path, early="certain")
    for patience in range(0, 500, 9):
        left = iter(range(patience))
        run = client.stream(PROMPT, cancelled=lambda left=left: next(left, None) is None)
        if run.finish() is not None:
            break
        assert not path.exists()
    assert run.answer is not None
    assert run.answer.outcome == "degraded"
    assert patience > 60
    assert len(read_trace(path).records) == 1


def test_a_cascade_that_does_not_fit_together_is_none(devices: list[Tier]) -> None:
    gate = Gate(rule=mean_nll, threshold=0.5)
    small, vote, medium = devices
    twice = ArtifactTier(medium.opened[0], name="small")
    uncalibrated = Gate(rule=mean_nll, threshold=None)
    for tiers, gates, kind, says in [
        ([], [], CascadeError, "needs at least 1 tier, got 0"),
        ([small], [], CascadeError, "gates must be 1, one for each tier: 0"),
        ([small, twice], [gate, None], CascadeError, "got 'small' twice"),
        ([small, vote, medium], [gate, None, None], CascadeError, "two last tiers: 'vote' and"),
        ([small, medium], [uncalibrated, None], CalibrationError, "gate of tier 'small': not cal"),
    ]:
        with pytest.raises(kind, match=says):
            Cascade(tiers=tiers, gates=gates)


def test_an_answer_is_judged_by_the_references(make: Make) -> None:
    client = make(ALWAYS, ALWAYS, ALWAYS)
    texts = [said.text for said in client.ask(PROMPT, shadow=True).tiers if said is not None]
    for index, text in enumerate(texts):
        answer = client.ask(Query(text=PROMPT, references=(text,)), shadow=True)
        said = answer.tiers[index]
        assert said is not None
        assert said.correct is True
        assert [one is not None and one.correct for one in answer.tiers] == [
            one == text for one in texts
        ]
