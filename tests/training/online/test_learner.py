"""Algorithm 1 item by item: who runs, who is asked, who learns, and what is counted of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from made_streams import configuration, rows, write

from escalade.training.online import Event, Result, learn_stream, read_configuration
from escalade.training.online.experts import CallableExpert, ExpertError
from escalade.training.online.levels import Example, LinearLevel
from escalade.training.online.levels import linear as linear_module
from escalade.training.online.record import Answer


def _run(
    folder: Path,
    data: Path,
    *,
    method: str = 'kind = "cascade"\nmu = 0.001',
    expert: Callable[[str], str] | None = None,
    say: Callable[[Event], None] = lambda event: None,
) -> tuple[Result, list[Answer]]:
    wanted = read_configuration(configuration(folder, method=method))
    asked = None if expert is None else CallableExpert(expert)
    result = learn_stream(wanted, data, folder / "out", expert=asked, say=say)
    lines = (folder / "out" / "answers.jsonl").read_bytes().splitlines()
    return result, [msgspec.json.decode(line, type=Answer) for line in lines]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "items.jsonl", rows(1200))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Every run of a level: its buckets, which tell the two apart, and the text."""
    runs: list[tuple[int, str]] = []
    real = LinearLevel.predict

    def predict(level: LinearLevel, text: str) -> object:
        runs.append((level._settings.features.buckets, text))
        return real(level, text)

    monkeypatch.setattr(linear_module.LinearLevel, "predict", predict)
    return runs


def test_the_first_160_items_go_to_the_expert_which_are_ten_updates_of_each_level(
    tmp_path: Path, data: Path
) -> None:
    result, answers = _run(tmp_path, data)
    first_kept = next(k for k, answer in enumerate(answers) if answer.by != "expert")
    assert 160 <= first_kept < 300
    assert result.tally.expert.calls < 800
    assert result.measured is not None
    assert result.measured.accuracy > 0.9
    folder = tmp_path / "begun"
    folder.mkdir()
    begun, _ = _run(folder, write(data, rows(160)))
    assert [level.updates for level in begun.tally.levels] == [20, 10]


def test_a_level_that_is_not_reached_does_not_run(
    tmp_path: Path, data: Path, ran: list[tuple[int, str]]
) -> None:
    result, answers = _run(tmp_path, data)
    small, large = result.tally.levels
    texts = [str(row["text"]) for row in rows(1200)]
    by_large = [text for buckets, text in ran if buckets == 8192]
    kept_below = [text for text, one in zip(texts, answers, strict=True) if one.by == "small"]
    assert len(kept_below) > 100
    assert not set(kept_below) & set(by_large)
    # Every run is counted, of those who answer and of those who learn.
    assert len(by_large) == large.runs + large.learning_runs
    assert len(ran) - len(by_large) == small.runs + small.learning_runs
    assert small.answered + large.answered + result.tally.expert.answered == 1200
    cost = len(ran) * 1.0 + result.tally.expert.calls * 1182.0
    assert result.tally.cost == pytest.approx(cost)
    assert small.flops > 0 < small.learning_flops
    assert sum(map(sum, result.tally.confusion)) == 1200


def test_an_answer_is_there_before_what_it_teaches_is_learned(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[int] = []
    real = LinearLevel.learn

    def learn(level: LinearLevel, examples: Sequence[Example]) -> float:
        if level._settings.features.buckets == 4096:
            there.append((tmp_path / "out" / "answers.jsonl").read_bytes().count(b"\n"))
        return real(level, examples)

    monkeypatch.setattr(LinearLevel, "learn", learn)
    _run(tmp_path, data)
    # Caches of 8: the eighth answer is written when the first update begins.
    assert there[:20] == list(range(8, 168, 8))


def test_beta_falls_with_every_update_and_its_coin_goes_straight_to_the_expert(
    tmp_path: Path, data: Path, ran: list[tuple[int, str]]
) -> None:
    betas: list[dict[str, float]] = []
    result, _ = _run(tmp_path, data, say=lambda event: betas.append(event.beta))
    for name, level in zip(("small", "large"), result.tally.levels, strict=True):
        falling = [beta[name] for beta in betas]
        assert falling == sorted(falling, reverse=True)
        assert falling[-1] == pytest.approx(0.8**level.updates, abs=1e-6)
    # Items that passed by all levels are run for their calibrators alone.
    assert result.tally.levels[1].learning_runs >= 160


def test_equal_beginnings_of_two_streams_get_equal_answers(tmp_path: Path) -> None:
    made = rows(700)
    answers = []
    for name, ending in (("one", rows(300, seed=8)), ("other", [{"text": "all new words"}] * 300)):
        folder = tmp_path / name
        folder.mkdir()
        answers.append(_run(folder, write(folder / "items.jsonl", [*made, *ending]))[1][:700])
    assert answers[0] == answers[1]


def test_an_answer_that_names_no_label_is_kept_counted_and_never_learned_from(
    tmp_path: Path, data: Path
) -> None:
    told: list[Event] = []
    result, answers = _run(tmp_path, data, expert=lambda text: "I cannot tell.", say=told.append)
    tally = result.tally
    assert (tally.unparsed, tally.expert.unparsed, tally.expert.answered) == (1200, 1200, 0)
    assert [level.updates for level in tally.levels] == [0, 0]
    assert {(one.outcome, one.expert_label, one.by) for one in answers} == {
        ("unparsed", None, "small")
    }
    assert [(one.items, one.what) for one in told if one.event == "expert_unparsed"] == [
        (1, "the expert's answer 'I cannot tell.' names no label, or several")
    ]


def test_whatever_a_function_does_the_stream_goes_on(tmp_path: Path, data: Path) -> None:
    faults: list[object] = [ZeroDivisionError("by nothing"), None, "half \ud800", "red"]

    def expert(text: str) -> str:
        fault = faults[len(text) % 4]
        if isinstance(fault, Exception):
            raise fault
        return fault  # type: ignore[return-value]  # as a user's function may

    result, answers = _run(tmp_path, data, expert=expert)
    tally = result.tally
    assert len(answers) == 1200
    assert tally.expert.failed > 100 < tally.expert.answered
    assert tally.expert.failed + tally.expert.answered == tally.expert.calls
    whys = {str(one.why).partition(":")[0] for one in answers if one.outcome == "degraded"}
    assert whys == {"ZeroDivisionError", "AttributeError", "UnicodeEncodeError"}


def test_an_expert_that_is_down_for_a_while_costs_its_lessons_and_no_item(
    tmp_path: Path, data: Path
) -> None:
    said = {str(row["text"]): str(row["said"]) for row in rows(1200)}
    calls = 0

    def expert(text: str) -> str:
        nonlocal calls
        calls += 1
        if 100 <= calls < 150:
            raise ExpertError("out of reach")
        return said[text]

    told: list[Event] = []
    result, answers = _run(tmp_path, data, expert=expert, say=told.append)
    degraded = [one for one in answers if one.outcome == "degraded"]
    assert len(degraded) == result.tally.degraded == result.tally.expert.failed == 50
    assert all(one.label is not None and "out of reach" in str(one.why) for one in degraded)
    assert len(answers) == 1200
    # Told once when it begins and once when it ends, not for each item.
    kinds = [one.event for one in told if one.event != "figures"]
    assert kinds == ["expert_failed", "expert_back"]


def test_every_kind_of_bad_item_is_counted_and_the_stream_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "items.jsonl", [{"text": ""}, {"text": 3}, {}, *rows(20)])
    with path.open("ab") as stream:
        stream.write(b'{"text": "\xff"}\n{"text": "rose", "gold": "mauve", "said": "red"}\n')
    result, answers = _run(tmp_path, path)
    assert result.tally.refused == {
        "empty text": 1,
        "'text' is no text": 1,
        "no 'text'": 1,
        "not UTF-8": 1,
    }
    assert len(answers) == result.tally.items == 25
    assert (result.tally.unknown_labels, sum(map(sum, result.tally.confusion))) == (1, 20)


def test_a_class_that_first_comes_at_the_end_is_answered(tmp_path: Path) -> None:
    made = rows(3000)
    late = [row for row in made if row["gold"] != 2] + [row for row in made if row["gold"] == 2]
    result, answers = _run(
        tmp_path, write(tmp_path / "items.jsonl", late), method='kind = "cascade"\naudit = 0.2'
    )
    assert "blue" in {one.label for one in answers[-300:] if one.by != "expert"}
    assert result.measured is not None
    assert result.measured.accuracy > 0.6


def test_the_audit_asks_about_kept_answers_and_its_alarm_raises_beta(tmp_path: Path) -> None:
    made = rows(3000, wrong=0.0)
    for row in made[1500:]:  # what was red is blue now
        row["gold"] = (int(str(row["gold"])) + 1) % 3
        row["said"] = ["red", "green", "blue"][int(str(row["gold"]))]
    named = [row["said"] for row in made]
    for row in made:
        row["said"] = f"I would say: {row['said']}."
    told: list[Event] = []
    result, answers = _run(
        tmp_path,
        write(tmp_path / "items.jsonl", made),
        method='kind = "cascade"\nmu = 0.002\naudit = 0.3',
        say=told.append,
    )
    audited = [one for one in answers if one.audited]
    assert audited
    assert all(one.by != "expert" for one in audited)
    asked = [one for one in answers if one.audited or one.by == "expert"]
    assert [one.expert_label for one in asked] == [named[one.item] for one in asked]
    assert {one.expert_label for one in answers if one not in asked} == {None}
    assert result.agreement is not None
    assert result.agreement.audited == len(audited)
    (alarm,) = [one for one in told if one.event == "alarm"][:1]
    assert alarm.items > 1500
    figures = [one for one in told if one.event == "figures"]
    before = [one.beta["small"] for one in figures if one.items < alarm.items]
    after = next(one.beta["small"] for one in figures if one.items > alarm.items)
    assert after > 10 * before[-1]


@pytest.mark.parametrize(
    ("method", "calls", "least"),
    [
        ('kind = "expert"', 1200, 0.9),
        ('kind = "ensemble"\nprobabilities = [0.3, 0.3, 0.4]', None, 0.7),
        ('kind = "distilled"\nlevel = "large"\ntrain = 400', 400, 0.85),
        ('kind = "threshold"\ntrain = 400\nconfidence = [0.0, 1.0]', 400, 0.9),
        ('kind = "threshold"\ntrain = 400\nconfidence = [1.0, 1.0]', 1200, 0.9),
    ],
)
def test_what_it_is_compared_with(
    tmp_path: Path, data: Path, method: str, calls: int | None, least: float
) -> None:
    result, answers = _run(tmp_path, data, method=method)
    if calls is not None:
        assert result.tally.expert.calls == calls
    else:
        assert 380 < result.tally.expert.calls < 580
    assert result.measured is not None
    assert result.measured.items == 1200 - result.measured_from
    assert result.measured.accuracy > least
    if "distilled" in method:
        assert {one.by for one in answers[400:]} == {"large"}
        assert [level.updates for level in result.tally.levels] == [0, 25]
        assert result.tally.levels[0].runs == 0
