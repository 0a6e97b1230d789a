"""The linear level: scikit-learn's numbers, nothing of the future, the same again from a state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_streams import LABELS, rows
from scipy import sparse

from escalade.edge.classification import HashedNgrams, read_linear_folder, tfidf
from escalade.training.online.levels import Example, LinearLevel, LinearSettings

SETTINGS = LinearSettings(HashedNgrams(buckets=1024), alpha=3e-5, replay=8, memory=50, epochs=1)


def _level(labels: list[str] = LABELS) -> LinearLevel:
    return LinearLevel(labels, SETTINGS, seed=3)


def _examples(count: int, *, classes: int = 3, seed: int = 1) -> list[Example]:
    return [
        Example(str(row["text"]), int(str(row["gold"])) % classes) for row in rows(count, seed=seed)
    ]


def _teach(level: LinearLevel, examples: list[Example]) -> None:
    for at in range(0, len(examples), 8):
        level.learn(examples[at : at + 8])


@pytest.mark.parametrize("classes", [2, 3])
def test_it_says_what_scikit_learn_says(classes: int) -> None:
    level = _level(LABELS[:classes])
    _teach(level, _examples(160, classes=classes))
    for text in (one.text for one in _examples(40, seed=9)):
        indices, counts = SETTINGS.features.counts(text)
        row = sparse.csr_matrix(
            (tfidf(indices, counts, level._frequencies), indices, [0, len(indices)]),
            shape=(1, 1024),
        )
        wanted = level._model.predict_proba(row)[0]
        np.testing.assert_allclose(np.exp(level.predict(text).logprobs), wanted, rtol=1e-6)


def test_it_learns() -> None:
    level = _level()
    _teach(level, _examples(240))
    held_out = _examples(200, seed=5)
    right = sum(int(level.predict(one.text).logprobs.argmax()) == one.label for one in held_out)
    assert right >= 180


@pytest.mark.parametrize("most", [0, 1, 20, 1000])
def test_so_many_examples_are_kept_to_learn_from_again(most: int) -> None:
    level = LinearLevel(LABELS, SETTINGS._replace(memory=most), seed=3)
    _teach(level, _examples(40))
    assert len(level.state()["memory.labels"]) == min(most, 40)


def test_nothing_but_learning_changes_what_it_says() -> None:
    level = _level()
    _teach(level, _examples(40))
    before = level.predict("rose moss sea word1").logprobs
    for one in _examples(50, seed=7):
        level.predict(one.text)
    np.testing.assert_array_equal(level.predict("rose moss sea word1").logprobs, before)


def test_before_it_has_learned_every_class_is_as_likely_as_another() -> None:
    np.testing.assert_allclose(np.exp(_level().predict("rose").logprobs), 1 / 3)


def test_a_stream_of_one_class_and_a_class_that_comes_late_are_learned() -> None:
    level = _level()
    ones = [one for one in _examples(600) if one.label == 0]
    _teach(level, ones[:160])
    said = level.predict(ones[0].text).logprobs
    assert said.argmax() == 0
    assert np.isfinite(said).all()
    _teach(level, [one for one in _examples(600, seed=2) if one.label == 2][:160])
    assert level.predict("sky sea ink").logprobs.argmax() == 2


@pytest.mark.parametrize("taught", [0, 24, 160])
def test_it_goes_on_from_its_state_bit_for_bit(taught: int) -> None:
    level, again = _level(), _level()
    _teach(level, _examples(taught))
    again.restore({name: array.copy() for name, array in level.state().items()})
    for one in (level, again):
        _teach(one, _examples(80, seed=4))
    for name, array in level.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    for one in _examples(20, seed=6):
        np.testing.assert_array_equal(
            again.predict(one.text).logprobs, level.predict(one.text).logprobs
        )


@pytest.mark.parametrize("classes", [2, 3])
def test_what_it_writes_is_what_it_knows(tmp_path: Path, classes: int) -> None:
    level = _level(LABELS[:classes])
    _teach(level, _examples(80, classes=classes))
    level.save(tmp_path / "small")
    entry, kept = read_linear_folder(tmp_path / "small")
    assert entry.labels == LABELS[:classes]
    assert entry.linear is not None
    text = "rose rose moss word3 word4"
    indices, counts = SETTINGS.features.counts(text)
    weights = np.zeros((1024, classes))
    weights[kept.buckets] = kept.weights
    scores = tfidf(indices, counts, level._frequencies) @ weights[indices] + entry.linear.intercepts
    sigmoids = 1 / (1 + np.exp(-scores))
    wanted = np.exp(level.predict(text).logprobs)
    np.testing.assert_allclose(sigmoids / sigmoids.sum(), wanted, rtol=1e-5)
