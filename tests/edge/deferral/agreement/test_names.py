"""Names of agreements, and the forms under which texts are compared."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.deferral import EMBEDDING, Voice, agreement_named, is_agreement
from escalade.edge.deferral.agreement import names
from escalade.edge.deferral.agreement.normalisers import NORMALISERS

NAMES = [
    "vote", "vote:folded", "vote:words", "vote:number",
    "mean-score", "mean-score:folded", "mean-score:words", "mean-score:number",
    "similarity:chrf", "similarity:edit",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_agreement_is_called_what_it_calls_itself(name: str) -> None:
    assert agreement_named(name).name == name


@pytest.mark.parametrize(
    "name", ["", "votes", "vote:", "vote:exact", "vote:word", "similarity", "mean", "x" * 999]
)
def test_another_name_is_refused_in_one_line_that_lists_all(name: str) -> None:
    with pytest.raises(ValueError, match="rule of several members must be one of vote, ") as told:
        agreement_named(name)
    assert all(one in str(told.value) for one in NAMES)
    assert len(str(told.value)) < 400
    if name == "vote:word":
        assert "did you mean 'vote:words'?" in str(told.value)


def test_an_embedding_is_an_agreement_that_only_a_gate_can_make() -> None:
    assert is_agreement(EMBEDDING)
    with pytest.raises(ValueError, match="needs a sentence encoder, which the gate of a cascade"):
        agreement_named(EMBEDDING)


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("rapidfuzz"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="rapidfuzz")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    names.agreement_named.cache_clear()
    with pytest.raises(ValueError, match=r"needs rapidfuzz: pip install 'escalade\[similarity\]'"):
        agreement_named("similarity:edit")
    names.agreement_named.cache_clear()


@pytest.mark.parametrize(
    ("normaliser", "one", "other"),
    [
        ("exact", "a", "a"),
        ("folded", "  The  CAT\n", "the cat"),
        ("folded", "\uff23at", "cat"),  # a full-width C
        ("words", "The cat, sat.", "the CAT sat"),
        ("words", "it's", "its"),
        ("number", "So it costs $1,234.50 .", "1234.5"),
        ("number", "first 3, then 42.", "The answer is 42"),
        ("number", "-0", "0.00"),
        ("number", "+7", "007"),
        ("number", "\u22125", "-5"),
        ("number", "pages 10-20", "20"),
        ("number", "None", "  none "),
    ],
)
def test_what_is_the_same_under_a_form(normaliser: str, one: str, other: str) -> None:
    assert NORMALISERS[normaliser](one) == NORMALISERS[normaliser](other)


@pytest.mark.parametrize(
    ("normaliser", "one", "other"),
    [
        ("exact", "a", "A"),
        ("folded", "the cat.", "the cat"),
        ("words", "the cat", "thecat"),
        ("number", "5", "-5"),
        ("number", "12345678901234567890", "12345678901234567891"),
        ("number", "1.5", "15"),
        ("number", "1,2", "12"),
    ],
)
def test_what_stays_different_under_a_form(normaliser: str, one: str, other: str) -> None:
    assert NORMALISERS[normaliser](one) != NORMALISERS[normaliser](other)


@given(st.sampled_from(sorted(NORMALISERS)), st.text(max_size=30))
def test_a_form_of_a_form_is_itself_and_any_text_has_one(normaliser: str, text: str) -> None:
    form = NORMALISERS[normaliser](text)
    if normaliser in {"exact", "number"}:
        assert NORMALISERS[normaliser](form) == form


def test_the_winner_answers_as_it_wrote_it() -> None:
    said = [Voice(0, "no"), Voice(1, " The Cat."), Voice(2, "the cat")]
    assert agreement_named("vote:words").outcome(said, [1.0] * 3) == (1, 1 / 3)
    assert agreement_named("vote").outcome(said, [1.0] * 3) == (0, 2 / 3)
