"""Which label an answer names: the rule, case by case and as a property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.training.errors import RecipeError
from escalade.training.online.experts import Parser

LABELS = ["hate", "no hate", "Café"]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("hate", 0),
        ("  **Hate.**\n", 0),
        ("NO-HATE", 1),
        ("I would say it is no hate.", 1),
        ("Answer: hate, clearly hate", 0),
        ("cafe\u0301!", 2),
        ("hate or no hate?", None),
        ("hateful", None),
        ("", None),
        ("I cannot help with that.", None),
        ("not hate", 0),  # what the rule does not understand, and says so
    ],
)
def test_an_answer_names_one_label_or_none(answer: str, named: int | None) -> None:
    assert Parser(LABELS)(answer) == named


@given(st.sampled_from(range(3)), st.sampled_from(["{}", " {} .", "It is: {}!", "\u201c{}\u201d"]))
def test_every_label_is_found_in_every_frame(label: int, frame: str) -> None:
    assert Parser(LABELS)(frame.format(LABELS[label].upper())) == label


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["a b", "A-b"], "'a b' and 'A-b'|'A-b' and 'a b'"),
        (["yes", "!"], "'!' has no letter and no digit"),
    ],
)
def test_labels_that_no_answer_can_tell_apart_are_refused(labels: list[str], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        Parser(labels)
