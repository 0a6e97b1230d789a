"""Voting: the rule, its bounds by trying every way the rest may vote, and real members."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.artifact.manifest import MANIFEST_NAME, read_manifest, write_manifest
from escalade.edge.base.records import Record, write_records
from escalade.edge.calibration.calibration import halves_of
from escalade.edge.calibration.ensemble import Ballots, ballots_for, calibrate_ensemble
from escalade.edge.calibration.thresholds import Judged
from escalade.edge.deferral.entry import QualityGoal, RateGoal, WithinGoal
from escalade.edge.deferral.rules import defers
from escalade.edge.errors import ArtifactError, CalibrationError, PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.tiers.ensemble import Ensemble, is_decided, is_settled, vote_bounds, vote_share
from escalade.edge.trace.trace import (
    TRACE_SCHEMA,
    LargeAnswer,
    ModelInfo,
    SmallAnswer,
    TraceHeader,
    TraceRecord,
    write_trace,
)

texts = st.lists(st.sampled_from("abc"), min_size=1, max_size=5)
WORDS = ["cat", "dog", "banana", "zebra", "apple", "pear"]


@given(texts)
def test_most_votes_win_and_the_first_of_equals(answers: list[str]) -> None:
    text, score = vote_share(answers)
    assert score == 1 - answers.count(text) / len(answers)
    for other in answers:
        assert answers.count(other) <= answers.count(text)
        if answers.count(other) == answers.count(text):
            assert answers.index(text) <= answers.index(other)


def test_by_hand() -> None:
    assert vote_share(["x", "y", "y"]) == ("y", 1 - 2 / 3)
    assert vote_share(["x", "y"]) == ("x", 0.5)
    assert vote_share(["", "", "y"]) == ("", 1 - 2 / 3)
    assert vote_share(["x"]) == ("x", 0.0)
    assert vote_bounds(["x", "y"], 4) == (0.25, 0.75)
    with pytest.raises(ValueError, match="1 or more, got 0"):
        vote_share([])
    with pytest.raises(ValueError, match="must be 1 to 2, got 3"):
        vote_bounds(["x"] * 3, 2)
    with pytest.raises(ValueError, match="must be 1 to 2, got 0"):
        is_settled([], 2)


def finals(answers: list[str], members: int) -> list[tuple[str, float]]:
    """Every way the vote may end; "d" and "e" stand for answers that nobody has given."""
    rest = itertools.product("abcdefgh", repeat=members - len(answers))
    return [vote_share([*answers, *more]) for more in rest]


@given(texts, st.integers(0, 3))
def test_bounds_are_attained_and_never_passed(answers: list[str], more: int) -> None:
    members = len(answers) + more
    scores = [score for _, score in finals(answers, members)]
    assert vote_bounds(answers, members) == (min(scores), max(scores))


@given(texts, st.integers(0, 3))
def test_settled_means_that_no_way_to_end_changes_the_answer(answers: list[str], more: int) -> None:
    members = len(answers) + more
    ends = {text for text, _ in finals(answers, members)}
    assert is_settled(answers, members) == (len(ends) == 1)


@given(texts, st.integers(0, 3), st.integers(0, 8), st.booleans())
def test_decided_means_that_no_way_to_end_changes_the_outcome(
    answers: list[str], more: int, step: int, can_defer: bool
) -> None:
    members = len(answers) + more
    tau = step / 8
    outcomes = {
        (defers(score, tau), "large" if can_defer and defers(score, tau) else text)
        for text, score in finals(answers, members)
    }
    assert is_decided(answers, members, tau, can_defer=can_defer) == (len(outcomes) == 1)


@pytest.fixture
def folders(float_artifact: Path, int8_artifact: Path, tmp_path: Path) -> list[Path]:
    """Two that mostly agree, and the first once more."""
    sources = {"a": float_artifact, "b": int8_artifact, "c": float_artifact}
    copies = [Path(shutil.copytree(source, tmp_path / name)) for name, source in sources.items()]
    manifest = read_manifest(copies[2])
    write_manifest(copies[2], msgspec.structs.replace(manifest, created="later"))
    return copies


@pytest.fixture
def members(folders: list[Path]) -> list[Artifact]:
    return [Artifact.open(folder) for folder in folders]


def text_of(artifact: Artifact, prompt: str) -> str:
    steps = artifact.generate(artifact.encode(prompt))
    return artifact.decode([step.token_id for step in steps if not step.ended])


@pytest.mark.parametrize("tau", [0.0, 1 / 3, 0.5, 1.0])
def test_members_answer_until_the_vote_is_decided(members: list[Artifact], tau: float) -> None:
    ensemble = Ensemble(members, tau)
    for word in WORDS:
        prompt = f"g2p: {word}"
        given_ = [text_of(member, prompt) for member in members]
        text, score = vote_share(given_)
        answer = ensemble.answer(prompt)
        asked = len(answer.steps_by_member)
        assert answer.would_defer == defers(score, tau)
        assert answer.would_defer or answer.text == text
        assert answer.votes == {one: given_[:asked].count(one) for one in given_[:asked]}
        assert asked == next(k for k in (1, 2, 3) if is_decided(given_[:k], 3, tau))
        alone = ensemble.answer(prompt, can_defer=False)
        assert (alone.text, alone.would_defer) == (text, defers(score, tau))
        assert ensemble.answer(prompt, can_defer=False, begun=answer) == alone
        assert defers(answer.score, tau) == answer.would_defer
    assert Ensemble(members, 0.0).answer("g2p: cat").would_defer
    assert len(Ensemble(members, 0.0).answer("g2p: cat").steps_by_member) == 1


def test_a_prompt_that_does_not_fit_is_refused_before_any_member_is_asked(
    members: list[Artifact],
) -> None:
    with pytest.raises(PromptError):
        Ensemble(members, 0.5).answer("")
    with pytest.raises(ValueError, match="at least 1 member"):
        Ensemble([], 0.5)


def test_nobody_votes_twice(members: list[Artifact], tmp_path: Path) -> None:
    twice = [members[0], members[1], members[0]]
    with pytest.raises(ValueError, match="are the same artifact, which has one vote"):
        Ensemble(twice, 0.5)
    ballots = made_up(20, tmp_path / "made-up.jsonl")
    with pytest.raises(CalibrationError, match="same artifact"):
        calibrate_ensemble(twice, ballots, RateGoal(target=0.5), tmp_path / "ensemble.json")
    with pytest.raises(CalibrationError, match="same artifact"):
        ballots_for(twice, tmp_path / "not read", is_trace=False)


def test_an_ensemble_is_its_members_and_no_others(
    members: list[Artifact], folders: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "sub" / "ensemble.json"
    Ensemble(members, 0.5).save(path)
    opened = Ensemble.open(path)
    assert opened.threshold == 0.5
    assert opened.answer("g2p: cat") == Ensemble(members, 0.5).answer("g2p: cat")
    manifest = folders[1] / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(ArtifactError, match="the ensemble .* was made with"):
        Ensemble.open(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not an ensemble"),
        (b'{"schema": 2, "members": [], "threshold": 0.5}', "schema 2; this version reads 1"),
        (b'{"schema": 1, "members": [], "threshold": 0.5}', "at least 1 member"),
        (b'{"schema": 1, "members": []}', "missing required field `threshold`"),
    ],
)
def test_a_file_that_is_no_ensemble(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "ensemble.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=says):
        Ensemble.open(path)


def trace_of(members: list[Artifact], path: Path, *, judged: bool = True) -> Path:
    """The large model is right on every query, the first member on every other one."""
    who = ModelInfo(name="tiny", parameters=1)
    header = TraceHeader(
        schema=TRACE_SCHEMA, small=who, large=who, rule="mean", threshold=0.0, created=""
    )

    def record(number: int, word: str) -> TraceRecord:
        prompt = f"g2p: {word}"
        right = text_of(members[0], prompt) if number % 2 else "nothing says this"
        return TraceRecord(
            id=word,
            task="g2p",
            prompt=prompt,
            references=[right],
            small=SmallAnswer(
                text="",
                logprobs=[-1.0],
                prompt_tokens=1,
                generated_tokens=1,
                generate_s=0.0,
                correct=False,
            ),
            large=LargeAnswer(
                text=right,
                prompt_tokens=1,
                generated_tokens=1,
                correct=True if judged else None,
                round_trip_s=0.0,
                server_s=0.0,
                bytes_up=0,
                bytes_down=0,
            ),
            score=1.0,
            outcome="deferred",
            total_s=0.0,
        )

    write_trace(path, header, [record(number, word) for number, word in enumerate(WORDS)])
    return path


def test_ballots_are_what_each_member_says(members: list[Artifact], tmp_path: Path) -> None:
    trace = trace_of(members, tmp_path / "trace.jsonl")
    seen: list[tuple[int, int]] = []
    ballots = ballots_for(
        members, trace, is_trace=True, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (6, 6)
    assert ballots.answers == [[text_of(one, f"g2p: {word}") for one in members] for word in WORDS]
    assert ballots.judged is not None
    # Members a and c are one model: it has the majority.
    assert ballots.judged.small.tolist() == [False, True] * 3
    assert ballots.judged.large.all()
    data = tmp_path / "data.jsonl"
    rows = (Record(id=w, task="g2p", prompt=f"g2p: {w}", references=["x"]) for w in WORDS)
    write_records(data, rows)
    of_data = ballots_for(members, data, is_trace=False, limit=3)
    assert of_data.answers == ballots.answers[::2]
    assert of_data.judged is None
    with pytest.raises(CalibrationError, match="lacks references"):
        ballots_for(members, trace_of(members, trace, judged=False), is_trace=True)


def made_up(n: int, source: Path) -> Ballots:
    generator = np.random.default_rng(1)
    hardness = generator.random((n, 1))
    wrong = generator.random((n, 3)) < hardness
    answers = np.where(wrong, generator.integers(1, 4, size=(n, 3)), 0).astype(str).tolist()
    right = np.array([vote_share(row).text == "0" for row in answers])
    large = generator.random(n) > 0.2 * hardness[:, 0]
    source.write_text("made up\n")
    return Ballots(answers, [[4, 4, 4]] * n, Judged(right, large), source)


@pytest.mark.parametrize(
    "goal",
    [RateGoal(target=0.4), QualityGoal(target=0.8), WithinGoal(epsilon=0.08, delta=0.1)],
    ids=["rate", "quality", "within"],
)
def test_a_calibrated_ensemble_keeps_what_its_threshold_does(
    members: list[Artifact], tmp_path: Path, goal: RateGoal | QualityGoal | WithinGoal
) -> None:
    ballots = made_up(600, tmp_path / "made-up.jsonl")
    path = tmp_path / "ensemble.json"
    content = calibrate_ensemble(members, ballots, goal, path)
    assert json.loads(path.read_text())["threshold"] == content.threshold
    entry = content.calibration
    assert entry is not None
    assert entry.certified == (True if isinstance(goal, WithinGoal) else None)
    held_out = halves_of(600, seed=1).held_out
    deferred = [
        defers(vote_share(ballots.answers[index]).score, content.threshold) for index in held_out
    ]
    asked = [
        next(k for k in (1, 2, 3) if is_decided(ballots.answers[index][:k], 3, content.threshold))
        for index in held_out
    ]
    assert entry.held_out is not None
    assert entry.held_out.n == 300
    assert entry.held_out.deferral_rate == sum(deferred) / 300
    assert entry.held_out.tokens_saved == pytest.approx(1 - sum(asked) / 900)
    if isinstance(goal, QualityGoal):
        assert entry.fit.quality is not None
        assert entry.fit.quality >= 0.8
    assert Ensemble.open(path).threshold == content.threshold


def test_an_ensemble_that_cannot_be_certified_defers_everything(
    members: list[Artifact], tmp_path: Path
) -> None:
    ballots = made_up(20, tmp_path / "made-up.jsonl")
    path = tmp_path / "ensemble.json"
    content = calibrate_ensemble(members, ballots, WithinGoal(epsilon=0.01, delta=0.1), path)
    assert content.threshold == 0.0
    assert content.calibration is not None
    assert content.calibration.certified is False
    assert content.calibration.fit.deferral_rate == 1.0
    with pytest.raises(CalibrationError, match=r"epsilon must be in \(0, 1\)"):
        calibrate_ensemble(members, ballots, WithinGoal(epsilon=2.0, delta=0.1), path)
    with pytest.raises(CalibrationError, match="give a trace"):
        calibrate_ensemble(members, ballots._replace(judged=None), QualityGoal(target=0.5), path)
