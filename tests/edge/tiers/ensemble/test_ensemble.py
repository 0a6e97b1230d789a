"""A tier that votes: real members in turn and side by side, asked no further than it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from votes import is_decided, is_settled, vote_bounds, vote_share

from escalade.edge import EdgeClient, Query, Sampling
from escalade.edge.deferral import defers
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.tiers import EnsembleTier, Member, votes_of
from escalade.edge.trace import TierAnswer

PROMPT = "g2p: cascade"
WORDS = ["cat", "dog", "banana", "zebra", "apple", "pear", "cascade"]
MakeVote = Callable[..., EdgeClient]


def text_of(member: Member, prompt: str) -> str:
    artifact = member.artifact
    return artifact.text_of(artifact.generate(artifact.encode(prompt)))


def asked_of(said: TierAnswer) -> list[int]:
    """The members that said something."""
    return [one.member for one in said.members if one.text is not None]


@pytest.mark.parametrize("tau", [0.0, 0.2, 1 / 3, 0.5, 1.0])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (3, 2, 4, 0, 1)])
def test_members_answer_until_the_vote_is_decided(
    make_vote: MakeVote, five: list[Member], tau: float, order: tuple[int, ...]
) -> None:
    count = len(order)
    client, alone = make_vote(tau, order=order), make_vote(tau, order=order, cloud=False)
    for word in WORDS:
        prompt = f"g2p: {word}"
        given = [text_of(five[index], prompt) for index in order]
        text, score = vote_share(given)
        answer = client.ask(prompt)
        said = answer.tiers[0]
        assert said is not None
        asked = len(said.members)
        assert asked_of(said) == list(range(asked))
        assert answer.would_defer == defers(score, tau)
        assert answer.outcome == ("deferred" if answer.would_defer else "answered")
        assert answer.would_defer or answer.text == text
        assert votes_of(said) == {one: given[:asked].count(one) for one in given[:asked]}
        assert asked == next(k for k in range(1, count + 1) if is_decided(given[:k], count, tau))
        assert said.stopped_early == (asked < count)
        assert answer.score is not None
        assert defers(answer.score, tau) == answer.would_defer
        least, most = vote_bounds(given[:asked], count)
        assert answer.score == (least if answer.would_defer else most)  # which decided
        local = alone.ask(prompt)
        assert (local.text, local.would_defer) == (text, defers(score, tau))
        assert local.outcome == "answered"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (3, 2, 4, 0, 1)])
def test_side_by_side_answers_and_decides_as_in_turn(
    make_vote: MakeVote, order: tuple[int, ...]
) -> None:
    for tau in (0.0, 0.2, 1 / 3, 0.5, 0.7):
        for cloud in (True, False):
            turn = make_vote(tau, order=order, cloud=cloud)
            beside = make_vote(tau, order=order, cloud=cloud, side_by_side=True)
            for word in WORDS[:3]:
                slow, fast = turn.ask(f"g2p: {word}"), beside.ask(f"g2p: {word}")
                assert (fast.text, fast.outcome) == (slow.text, slow.outcome)
                assert (fast.would_defer, fast.stop) == (slow.would_defer, slow.stop)
    # How far a vote is heard may be a matter of time; whole, all that is said of it is the same.
    for word in WORDS:
        slow, fast = (one.ask(f"g2p: {word}", shadow=True) for one in (turn, beside))
        assert (fast.text, fast.score) == (slow.text, slow.score)
        assert _facts(fast.tiers[0]) == _facts(slow.tiers[0])


def _facts(said: TierAnswer | None) -> list[tuple[object, ...]]:
    """All of an answer but its times."""
    assert said is not None
    return [
        (one.member, one.text, one.logprobs, one.prompt_tokens, one.generated_tokens, one.correct)
        for one in said.members
    ]


def test_what_most_members_say_stays_on_the_device(
    make_vote: MakeVote, five: list[Member], scripted_cloud: Any
) -> None:
    answer = make_vote(0.5).ask(PROMPT)
    artifact = five[0].artifact
    ids = artifact.encode(PROMPT)
    steps = artifact.generate(ids)
    assert (answer.outcome, answer.tiers[1], answer.would_defer) == ("answered", None, False)
    assert votes_of(answer.said) == {answer.text: 2}  # the third could change nothing
    first, second = answer.said.members
    assert first.logprobs == [step.logprob for step in steps]
    # Read in one piece with the first's answer, by other-shaped kernels.
    assert second.logprobs == pytest.approx(first.logprobs, abs=1e-5)
    for one in answer.said.members:
        assert (one.generated_tokens, one.prompt_tokens) == (len(steps), len(ids))
    assert answer.stop == ("end" if steps[-1].ended else "length")
    assert answer.said.seconds >= sum(one.seconds for one in answer.said.members)
    assert scripted_cloud.asked == []


def test_what_members_differ_on_is_deferred(
    make_vote: MakeVote, five: list[Member], scripted_cloud: Any
) -> None:
    answer = make_vote(0.3).ask(Query(text=PROMPT, references=("large answer",)))
    assert (answer.outcome, answer.text) == ("deferred", "large answer")
    assert (answer.score, answer.threshold) == (pytest.approx(1 / 3), 0.3)
    vote, large = answer.tiers
    assert vote is not None
    assert large is not None
    assert list(votes_of(vote).values()) == [2, 1]
    assert [one.correct for one in vote.members] == [False] * 3
    assert (vote.correct, large.correct) == (False, True)
    (request,) = scripted_cloud.asked
    assert list(request.prompt.tokens.ids) == five[0].artifact.encode(PROMPT)
    assert not request.HasField("draft")
    make_vote(0.3, prompt_form="text").ask(PROMPT)
    assert scripted_cloud.asked[1].prompt.text == PROMPT


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("tau", [0.0, 0.2, 1 / 3])
def test_a_silent_cloud_leaves_the_answer_of_the_whole_vote(
    make_vote: MakeVote, scripted_cloud: Any, tau: float, side_by_side: bool
) -> None:
    scripted_cloud.fails()
    order = (2, 0, 1)  # after two members deferral is certain, the winner is not
    options: dict[str, Any] = {"order": order, "side_by_side": side_by_side}
    alone = make_vote(tau, cloud=False, **options).ask(PROMPT)
    degraded = make_vote(tau, **options).ask(PROMPT)
    assert (degraded.outcome, alone.outcome) == ("degraded", "answered")
    assert (degraded.text, degraded.would_defer) == (alone.text, True)
    assert degraded.reason is not None
    assert sorted(asked_of(degraded.said)) == [0, 1, 2]
    assert votes_of(degraded.said) == votes_of(alone.said)
    for one, other in zip(degraded.said.members, alone.said.members, strict=True):
        assert one.logprobs == other.logprobs
        # What was stopped at first and asked again has cost twice.
        assert one.generated_tokens >= other.generated_tokens == len(other.logprobs)
        assert one.prompt_tokens in {other.prompt_tokens, 2 * other.prompt_tokens}
    if not side_by_side:
        assert _facts(degraded.said) == _facts(alone.said)


def test_who_is_not_needed_for_the_winner_is_spared_even_then(
    make_vote: MakeVote, scripted_cloud: Any
) -> None:
    scripted_cloud.fails()
    answer = make_vote(0.0).ask(PROMPT)
    assert answer.outcome == "degraded"
    assert asked_of(answer.said) == [0, 1]
    assert is_settled([one.text or "" for one in answer.said.members], 3)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_the_first_member_streams(
    make_vote: MakeVote, five: list[Member], side_by_side: bool
) -> None:
    run = make_vote(0.5, order=(2, 0, 1), cloud=False, side_by_side=side_by_side).stream(PROMPT)
    text = "".join(delta.text for delta in run)
    assert run.answer is not None
    assert text == text_of(five[2], PROMPT)
    assert run.answer.text == text_of(five[0], PROMPT) != text


@pytest.mark.parametrize("side_by_side", [False, True])
def test_without_a_threshold_the_winner_is_enough(make_vote: MakeVote, side_by_side: bool) -> None:
    """The score is then the most that it may be; who wants the whole vote's records."""
    client = make_vote(None, cloud=False, side_by_side=side_by_side)
    answer = client.ask(PROMPT)
    assert (answer.threshold, answer.would_defer) == (None, False)
    if not side_by_side:  # there the third may have ended before the second
        assert answer.said.stopped_early
        assert asked_of(answer.said) == [0, 1]
    assert answer.score == pytest.approx(1 / 3)
    whole = client.ask(PROMPT, shadow=True)
    assert asked_of(whole.said) == [0, 1, 2]
    assert whole.score == pytest.approx(1 / 3)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_stop_texts_lengths_and_sampling_are_every_members(
    make_vote: MakeVote, five: list[Member], side_by_side: bool
) -> None:
    client = make_vote(0.5, cloud=False, side_by_side=side_by_side)
    stop = text_of(five[0], PROMPT)[2:4]
    cut = client.ask(Query(text=PROMPT, stop=(stop,)), shadow=True)
    assert (cut.text, cut.stop) == (text_of(five[0], PROMPT).partition(stop)[0], "stop")
    assert all(stop not in (one.text or "") for one in cut.said.members)
    short = client.ask(Query(text=PROMPT, max_new_tokens=2), shadow=True)
    assert [one.generated_tokens for one in short.said.members] == [2, 2, 2]
    hot = Query(text=PROMPT, sampling=Sampling(temperature=5.0, seed=2))
    drawn, again = client.ask(hot, shadow=True), client.ask(hot, shadow=True)
    assert _facts(drawn.said) == _facts(again.said)
    greedy = client.ask(PROMPT, shadow=True)
    for one, other in zip(drawn.said.members, greedy.said.members, strict=True):
        assert one.text != other.text


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_prompt_that_one_member_cannot_take_is_refused_before_any_is_asked(
    make_vote: MakeVote, five: list[Member], side_by_side: bool
) -> None:
    runtimes: list[Any] = [member.artifact._runtime for member in five[:3]]
    before = [runtime.tokens_run for runtime in runtimes]
    for prompt in ("", "g2p: " + "a" * 500):
        with pytest.raises(PromptError):
            make_vote(0.3, side_by_side=side_by_side).ask(prompt)
    assert [runtime.tokens_run for runtime in runtimes] == before


def test_members_that_cannot_vote_with_one_another_are_no_tier(
    five: list[Member], int8_artifact: Any
) -> None:
    from escalade.edge import Artifact

    shorter = Member(Artifact.open(int8_artifact))  # max_new_tokens is another
    for members, says in (
        ([], "at least 2 members, got 0"),
        (five[:1], "at least 2 members, got 1"),
        ([five[0], five[1], five[0]], "are the same model by content, which has one vote"),
        ([five[0], Member(five[1].artifact, weight=0.0)], "weight must be above 0 and .* got 0.0"),
        ([five[0], shorter], "cannot be compared with those of .*: max_new_tokens 24 and 47"),
    ):
        with pytest.raises(ArtifactError, match=says):
            EnsembleTier(members)
