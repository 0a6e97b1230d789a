"""What a gateway hands to its learner, and that no query fails for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from classifiers import LABELS

from escalade.cli.learning.auditing import Auditing
from escalade.cli.learning.gathering import Gathering, open_gathering
from escalade.cli.serving.swapping import Swapping
from escalade.edge import OpenOptions, Query
from escalade.edge.answer import Answer
from escalade.edge.errors import DataError
from escalade.edge.trace import Outcome
from escalade.training.errors import RecipeError
from escalade.training.online.feed import FeedEntry, FeedReader, LineFile

LAST = 1


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Of a cascade whose last tier is out of reach; half of all queries are sampled."""
    cascade, learn = tmp_path / "cascade.toml", tmp_path / "learn.toml"
    cascade.write_text(
        '[[tiers]]\nname = "linear"\nmembers = ["store/current"]\n\n'
        '[[tiers]]\nname = "large"\naddress = "127.0.0.1:1"\ndeadline_s = 0.5\nsend = "text"\n'
    )
    labels = ", ".join(f'"{label}"' for label in LABELS)
    learn.write_text(
        f'labels = [{labels}]\nshare = 0.5\n\n[[level]]\nkind = "linear"\nname = "linear"\n'
    )
    return learn, cascade


@pytest.fixture
def gathering(files: tuple[Path, Path]) -> Iterator[Gathering]:
    gathering = open_gathering(*files)
    yield gathering
    gathering.close()


@pytest.fixture
def swapping(gathering: Gathering, files: tuple[Path, Path]) -> Iterator[Swapping]:
    swapping = Swapping(files[1], OpenOptions(), queue_capacity=1)
    yield swapping
    swapping.close()


def answer(by: int, outcome: Outcome, text: str = "joy") -> Answer:
    return Answer(
        text=text,
        outcome=outcome,
        answered_by=by,
        tier="large" if by else "linear",
        place="cloud" if by else "device",
        tiers=(None, None),
        score=0.1,
        threshold=0.2,
        would_defer=bool(by),
        stop="end",
        total_s=0.0,
        reason=None,
        prompt="",
    )


def fed(files: tuple[Path, Path]) -> list[FeedEntry]:
    return [*FeedReader(files[0].parent / "learned" / "feed", 0).take()]


def test_what_cannot_begin_leaves_no_folder(files: tuple[Path, Path]) -> None:
    learn, cascade = files
    learn.write_text('private_key = "nowhere.pem"\n' + learn.read_text())
    with pytest.raises(RecipeError, match=r"nowhere\.pem: cannot be read"):
        open_gathering(learn, cascade)
    assert not (learn.parent / "learned").exists()


def test_what_the_last_tier_answered_is_handed_over(
    gathering: Gathering, swapping: Swapping, files: tuple[Path, Path]
) -> None:
    for number in range(40):
        query = Query(text=f"text {number}")
        gathering.note(answer(LAST, "deferred", f"said {number}"), query, swapping.using)
        gathering.note(answer(LAST, "degraded"), query, swapping.using)
    entries = fed(files)
    assert [(one.text, one.expert) for one in entries] == [
        (f"text {number}", f"said {number}") for number in range(40)
    ]
    assert 0 < sum(one.sampled for one in entries) < 40
    assert all(one.kept is None for one in entries)
    assert (gathering.entries, gathering.lost) == (40, 0)


def test_kept_answers_that_are_sampled_are_asked_and_who_is_silent_is_counted(
    gathering: Gathering, swapping: Swapping, files: tuple[Path, Path]
) -> None:
    for number in range(20):
        gathering.note(answer(0, "answered"), Query(text=f"text {number}"), swapping.using)
    gathering._asking.shutdown(wait=True)
    assert 0 < gathering.unasked < 20
    assert fed(files) == []
    gathering.note(answer(0, "answered"), Query(text="late"), swapping.using)


def test_an_alarm_lasts_until_a_version_is_served_that_was_made_after_it(
    gathering: Gathering,
    swapping: Swapping,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(file: LineFile, line: bytes) -> None:
        raise DataError("feed: cannot be written: No space left on device")

    def note(text: str) -> None:
        gathering.note(answer(LAST, "deferred"), Query(text=text), swapping.using)

    note("before")
    assert not gathering.alarmed
    monkeypatch.setattr(Auditing, "end", lambda *_: True)
    while not gathering.alarmed:  # as soon as one of these is sampled, and was asked about
        gathering.note(answer(0, "answered"), Query(text="kept"), swapping.using)
    gathering._asking.shutdown(wait=True, cancel_futures=True)
    with monkeypatch.context() as disk:
        disk.setattr(LineFile, "add", full)
        note("lost")
    assert gathering.alarmed
    note("told")
    note("after")
    assert [(one.text, one.alarm) for one in fed(files)] == [
        ("before", False),
        ("told", True),
        ("after", False),
    ]
    while gathering._learner.progress.taken < 2:
        pass
    made = gathering.published()
    assert (made, gathering._learner.progress.versions) == (2, 1)
    # It lies there, and the old one answers.
    assert gathering.alarmed
    gathering.serves(1)
    assert gathering.alarmed
    gathering.serves(made)
    assert not gathering.alarmed


def test_on_a_full_disk_queries_are_lost_to_it_and_that_is_said_once(
    gathering: Gathering,
    swapping: Swapping,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(file: LineFile, line: bytes) -> None:
        raise DataError("feed: cannot be written: No space left on device")

    def note(text: str) -> None:
        gathering.note(answer(LAST, "deferred"), Query(text=text), swapping.using)

    with caplog.at_level(logging.WARNING):
        with monkeypatch.context() as disk:
            disk.setattr(LineFile, "add", full)
            for number in range(3):
                note(f"lost {number}")
        note("again")
    assert (gathering.entries, gathering.lost) == (1, 3)
    assert [one.text for one in fed(files)] == ["again"]
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("feed: cannot be written: No space left on device; it is")
    assert caplog.messages[1].endswith("can be written again")
