"""Every agreement: its bounds and what it calls decided, by trying all that may yet be said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from escalade.edge.deferral import Agreement, Voice, Vote, agreement_named, defers
from escalade.edge.deferral.agreement import Medoid
from escalade.edge.deferral.agreement.mean_score import MeanScore

TEXTS = ["", "A", "a ", "two", "new"]
LIKE = [0.0, 0.25, 0.5, 1.0]


def medoid_of(seed: int) -> Medoid:
    """Under some similarity, which need obey nothing but to be the same both ways."""
    return Medoid(
        "made",
        lambda one, other: LIKE[crc32(repr((seed, *sorted((one, other)))).encode()) % len(LIKE)],
    )


MAKERS: list[Callable[[int], Agreement]] = [
    lambda _: Vote(),
    lambda _: Vote("folded"),
    lambda _: MeanScore(),
    lambda _: MeanScore("folded"),
    medoid_of,
]
#: Those whose bounds are not only never passed but attained.
EXACT = 4


@st.composite
def partly(draw: st.DrawFn) -> tuple[list[Voice], list[float]]:
    """Some members of two to four, anywhere among them, have been heard or have failed."""
    members = draw(st.integers(2, 4))
    # Whole weights make ties.
    weights = draw(st.lists(st.sampled_from([1.0, 2.0, 0.3]), min_size=members, max_size=members))
    left = draw(st.sets(st.integers(0, members - 1), max_size=2))
    texts, logprobs = st.none() | st.sampled_from(TEXTS[:4]), st.sampled_from([0.0, -1.0])
    voices = [
        Voice(member, draw(texts), [draw(logprobs)])
        for member in range(members)
        if member not in left
    ]
    return draw(st.permutations(voices)), weights


def ends(
    agreement: Agreement, voices: list[Voice], weights: list[float]
) -> list[tuple[str, float]]:
    """Every way it may end in which somebody speaks: the winner, by what is compared, and score."""
    heard = {voice.member for voice in voices}
    left = [member for member in range(len(weights)) if member not in heard]
    says: list[tuple[str | None, float]] = [(None, 0.0)]
    says += [(text, p) for text in TEXTS for p in (0.0, -math.inf)]
    found = []
    for more in itertools.product(says, repeat=len(left)):
        late = [Voice(who, text, [p]) for who, (text, p) in zip(left, more, strict=True)]
        said = [*voices, *late]
        if any(one.text is not None for one in said):
            winner, score = agreement.outcome(said, weights)
            text = next(str(one.text) for one in said if one.member == winner)
            found.append((agreement.key_of(text) if isinstance(agreement, Vote) else text, score))
    return found


def cases() -> Iterator[tuple[int, Callable[[int], Agreement]]]:
    yield from enumerate(MAKERS)


@pytest.mark.parametrize(("index", "make"), list(cases()))
@settings(deadline=None, max_examples=60)
@given(partly(), st.integers(0, 99))
def test_bounds_contain_every_way_to_end(
    index: int,
    make: Callable[[int], Agreement],
    poll: tuple[list[Voice], list[float]],
    seed: int,
) -> None:
    agreement, (voices, weights) = make(seed), poll
    scores = [score for _, score in ends(agreement, voices, weights)]
    if not scores:
        return
    least, most = agreement.bounds(voices, weights)
    assert 0.0 <= least <= min(scores) <= max(scores) <= most <= 1.0
    if index < EXACT:
        assert (least, most) == (min(scores), max(scores))


@pytest.mark.parametrize(("index", "make"), list(cases()))
@settings(deadline=None, max_examples=60)
@given(partly(), st.integers(0, 99), st.integers(-1, 9), st.booleans())
def test_what_is_decided_stays_so_whatever_comes(
    index: int,
    make: Callable[[int], Agreement],
    poll: tuple[list[Voice], list[float]],
    seed: int,
    step: int,
    can_defer: bool,
) -> None:
    agreement, (voices, weights) = make(seed), poll
    tau, found = step / 8, ends(agreement, voices, weights)
    spoke = any(one.text is not None for one in voices)
    settled = agreement.is_settled(voices, weights)
    assert not settled or len({text for text, _ in found}) == 1
    outcomes = {
        (defers(score, tau), "above" if can_defer and defers(score, tau) else text)
        for text, score in found
    }
    decided = agreement.is_decided(voices, weights, tau, can_defer=can_defer)
    assert not decided or len(outcomes) == 1
    if spoke and index < 2:
        assert settled == (len({text for text, _ in found}) == 1)
        assert decided == (len(outcomes) == 1)
    if not spoke:
        assert not decided


@pytest.mark.parametrize(("index", "make"), list(cases()))
@settings(deadline=None, max_examples=30)
@given(partly(), st.integers(0, 99), st.randoms())
def test_the_order_in_which_members_are_heard_changes_nothing(
    index: int,
    make: Callable[[int], Agreement],
    poll: tuple[list[Voice], list[float]],
    seed: int,
    random: object,
) -> None:
    agreement, (voices, weights) = make(seed), poll
    other = sorted(voices, key=lambda one: one.member)
    assert agreement.bounds(voices, weights) == agreement.bounds(other, weights)
    assert agreement.is_settled(voices, weights) == agreement.is_settled(other, weights)
    if any(one.text is not None for one in voices):
        assert agreement.outcome(voices, weights) == agreement.outcome(other, weights)


@settings(deadline=None)
@given(partly(), st.sampled_from([2.0, 0.1, 1e300, 5e-324]))
def test_members_of_one_weight_are_a_plain_vote_whatever_it_is(
    poll: tuple[list[Voice], list[float]], weight: float
) -> None:
    voices, weights = poll
    certain = [replace(one, logprobs=[0.0]) for one in voices]
    ones, same = [1.0] * len(weights), [weight] * len(weights)
    plain = Vote()
    by_equality = Medoid("equal", lambda one, other: 0.0)
    if any(one.text is not None for one in voices):
        texts = [one.text for one in certain if one.text is not None]
        winner, score = plain.outcome(certain, ones)
        most = max(texts.count(text) for text in texts)
        assert score == (len(ones) - most) / len(ones)
        assert texts.count(str(next(v.text for v in voices if v.member == winner))) == most
        for agreement in (plain, MeanScore(), by_equality):
            assert agreement.outcome(certain, same) == (winner, score)
    assert plain.bounds(certain, same) == plain.bounds(certain, ones)
    assert plain.is_settled(certain, same) == plain.is_settled(certain, ones)


@settings(deadline=None)
@given(partly(), st.integers(0, 99))
def test_a_failure_only_raises_the_score(poll: tuple[list[Voice], list[float]], seed: int) -> None:
    voices, weights = poll
    for make in MAKERS:
        agreement = make(seed)
        for index, one in enumerate(voices):
            without = [*voices[:index], replace(one, text=None), *voices[index + 1 :]]
            if any(voice.text is not None for voice in without):
                before, after = (agreement.outcome(v, weights).score for v in (voices, without))
                if not isinstance(agreement, MeanScore):  # whose winner may be a surer one then
                    assert before <= after
                assert after >= weights[one.member] / sum(weights) - 1e-9


def test_weights_by_hand() -> None:
    said = [Voice(0, "x"), Voice(1, "y"), Voice(2, "y")]
    assert Vote().outcome(said, [3.0, 1.0, 1.0]) == (0, 0.4)
    assert Vote().outcome(said, [2.0, 1.0, 1.0]) == (0, 0.5)  # of two alike the first
    assert Vote().is_settled(said[:1], [3.0, 1.0, 1.0])
    assert not Vote().is_settled(said[1:2], [2.0, 1.0, 1.0])
    assert Vote().bounds(said[:1], [3.0, 1.0, 1.0]) == (0.0, 0.4)


def test_mean_scores_by_hand() -> None:
    half = math.log(0.5)
    said = [Voice(0, "x", [half, half]), Voice(1, "x", [0.0]), Voice(2, "y", [0.0])]
    assert MeanScore().outcome(said, [1.0] * 3) == (0, 0.5)  # 1 - (1/2 + 1 + 0) / 3
    classes = [{"x": half, "y": half}, {"x": 0.0, "y": -math.inf}, {"x": half, "y": half}]
    told = [
        replace(one, classes=of, logprobs=[half]) for one, of in zip(said, classes, strict=True)
    ]
    # Of classifiers the third member's half counts too, though it voted for the other.
    assert MeanScore().outcome(told, [1.0] * 3) == (0, pytest.approx(1 / 3))
    assert MeanScore().outcome([Voice(0, "x", [-math.inf])], [1.0]) == (0, 1.0)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), min_size=2, max_size=4))
def test_bounds_of_classifiers_contain_what_the_others_say(rows: list[list[float]]) -> None:
    voices = []
    for member, row in enumerate(rows):
        classes = {name: math.log(p / sum(row)) for name, p in zip("abc", row, strict=True)}
        best = max(classes, key=lambda name: classes[name])
        voices.append(Voice(member, best, [classes[best]], classes))
    weights, agreement = [1.0] * len(rows), MeanScore()
    winner, score = agreement.outcome(voices, weights)
    for k in range(1, len(rows) + 1):
        least, most = agreement.bounds(voices[:k], weights)
        assert least <= score <= most
        if agreement.is_settled(voices[:k], weights):
            assert agreement.outcome(voices[:k], weights).winner == winner


def test_the_medoid_by_hand() -> None:
    said = [Voice(0, "kitten"), Voice(1, "sitting"), Voice(2, "sitten")]
    edit = agreement_named("similarity:edit")
    winner, score = edit.outcome(said, [1.0] * 3)
    # sitten is 1 from kitten (of 6) and 2 from sitting (of 7).
    assert winner == 2
    assert score == pytest.approx(1 - (1 + 5 / 6 + 5 / 7) / 3)
    assert edit.outcome([Voice(0, "abc"), Voice(1, "xyz")], [1.0] * 2) == (0, 0.5)
    assert edit.outcome([Voice(0, ""), Voice(1, "")], [1.0] * 2) == (0, 0.0)
    # Two of three that are the same cannot lose, as in a vote.
    assert edit.is_settled([Voice(0, "a"), Voice(1, "a")], [1.0] * 3)
    chrf = agreement_named("similarity:chrf")
    answers = ["the cat sat", "a dog ran off", "the cat sat down"]
    texts = [Voice(index, text) for index, text in enumerate(answers)]
    assert chrf.outcome(texts, [1.0] * 3).winner in {0, 2}
    assert 1 / 3 < chrf.outcome(texts, [1.0] * 3).score < 2 / 3
