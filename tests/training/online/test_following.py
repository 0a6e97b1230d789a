"""Levels that learn from a feed: what they learn, what is kept apart, and where they go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from classifiers import LABELS, labelled

from escalade.edge.base import SystemClock
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError
from escalade.training.online import (
    ColumnTable,
    Configuration,
    FeedWriter,
    Follower,
    Held,
    LinearTable,
)

CONFIGURATION = Configuration(
    labels=LABELS,
    expert=ColumnTable(column="expert"),
    level=[LinearTable(name="linear", buckets=1 << 10)],
)
WINDOW = 20


def fill(folder: Path, count: int, *, sampled: int = 4) -> None:
    """So many entries; every `sampled`-th is one."""
    data = labelled(count)
    writer = FeedWriter(folder / "feed")
    for number, (text, kind) in enumerate(zip(data.texts, data.classes, strict=True)):
        writer.add(text, LABELS[kind], sampled=number % sampled == 0)
    writer.close()


def follower(folder: Path, configuration: Configuration = CONFIGURATION) -> Follower:
    return Follower(
        configuration,
        folder / "feed",
        folder / "checkpoint.safetensors",
        window=WINDOW,
        clock=SystemClock(),
    )


def test_it_learns_all_but_the_latest_sampled_queries(tmp_path: Path) -> None:
    fill(tmp_path, 400)
    ours = follower(tmp_path)
    assert sum(iter(lambda: ours.take(64), 0)) == 400
    assert (ours.taken, ours.learned, len(ours.window)) == (400, 380, WINDOW)
    assert [held.text for held in ours.window] == labelled(400).texts[::4][-WINDOW:]
    test = labelled(200, seed=9)
    said = [
        int(ours.rungs[0].level.predict(text).logprobs.argmax()) == kind
        for text, kind in zip(test.texts, test.classes, strict=True)
    ]
    assert np.mean(said) > 0.75  # one in ten has another's words


def test_who_is_cut_off_anywhere_learns_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 120)
    whole = follower(tmp_path)
    while whole.take(64):
        pass
    for steps in ((37, 21), (64, 1), (7, 113)):
        cut = follower(tmp_path)
        cut.take(steps[0])
        cut.save()
        cut.take(steps[1])  # of which nothing is kept
        again = follower(tmp_path)
        assert again.taken == steps[0]
        while again.take(50):
            pass
        assert [*again.window] == [*whole.window]
        assert (again.learned, again.taken) == (whole.learned, whole.taken)
        state, wanted = (one.rungs[0].level.state() for one in (again, whole))
        assert state.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(state[name], array)
        (tmp_path / "checkpoint.safetensors").unlink()


def test_what_a_shorter_window_has_no_room_for_is_learned_from(tmp_path: Path) -> None:
    fill(tmp_path, 100)
    ours = follower(tmp_path)
    ours.take(100)
    ours.save()
    shorter = Follower(
        CONFIGURATION,
        tmp_path / "feed",
        tmp_path / "checkpoint.safetensors",
        window=5,
        clock=SystemClock(),
    )
    assert [*shorter.window] == [*ours.window][-5:]
    assert shorter.learned == ours.learned + WINDOW - 5


def test_an_answer_without_a_label_is_counted_and_agrees_with_none(tmp_path: Path) -> None:
    writer = FeedWriter(tmp_path / "feed")
    writer.add("a", "I cannot say", sampled=False)
    writer.add("b", "Joy!", sampled=True)
    writer.add("c", "I cannot say", sampled=True)
    writer.close()
    ours = follower(tmp_path)
    ours.take(10)
    assert (ours.learned, ours.unparsed) == (0, 1)
    assert [*ours.window] == [Held("b", "Joy!"), Held("c", "I cannot say")]
    assert ours.agreement(["joy", "joy"]).tolist() == [True, False]


def test_a_checkpoint_of_other_levels_or_of_another_feed_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 30)
    ours = follower(tmp_path)
    ours.take(30)
    ours.save()
    other = Configuration(
        labels=LABELS,
        expert=ColumnTable(column="expert"),
        level=[LinearTable(name="linear", buckets=1 << 11)],
    )
    with pytest.raises(RecipeError, match="buckets"):
        follower(tmp_path, other)
    for path in (tmp_path / "feed").iterdir():
        path.unlink()
    fill(tmp_path, 10)
    with pytest.raises(DataError, match="entry 30 is missing"):
        follower(tmp_path).take(1)
