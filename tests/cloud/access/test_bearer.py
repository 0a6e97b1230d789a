"""The header that carries a token: what is one, and that nothing else is, whatever it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.access import make_token
from escalade.cloud.access.bearer import bearer_of
from escalade.cloud.errors import UnauthenticatedError

TOKEN = make_token()
VALUES = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: f"Bearer {text}"),
    st.from_regex(r"[Bb]earer [A-Za-z0-9._~+/-]{1,60}={0,2}", fullmatch=True),
)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_is_found_among_other_metadata(scheme: str) -> None:
    metadata = [("user-agent", "x"), ("authorization", f"{scheme} {TOKEN}"), ("a-bin", b"\0")]
    assert bearer_of(metadata) == TOKEN


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "missing"),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], "must be sent once, got 2 headers"),
        ([TOKEN], "must be `Bearer TOKEN`"),
        ([f"Basic {TOKEN}"], "must be `Bearer TOKEN`"),
        (["Bearer"], "must be `Bearer TOKEN`"),
        (["Bearer "], "must be `Bearer TOKEN`"),
        ([f"Bearer  {TOKEN}"], "must be `Bearer TOKEN`"),
        ([f"Bearer {TOKEN}\n"], "must be `Bearer TOKEN`"),
        ([f"Bearer {TOKEN}, {TOKEN}"], "must be `Bearer TOKEN`"),
        ([f"Bearer {TOKEN}é"], "must be `Bearer TOKEN`"),
        ([f"Bearer {TOKEN}".encode()], "must be `Bearer TOKEN`"),
        (["Bearer " + "a" * 513], "must be `Bearer TOKEN`"),
        (["Bearer " + "a" * (1 << 20)], "must be `Bearer TOKEN`"),
    ],
)
def test_anything_else_is_refused_and_not_quoted(values: list[str | bytes], said: str) -> None:
    with pytest.raises(UnauthenticatedError, match=said) as failure:
        bearer_of([("authorization", value) for value in values])
    assert TOKEN not in str(failure.value)
    assert len(str(failure.value)) < 100


@given(st.lists(VALUES, max_size=3))
def test_it_is_one_whole_token_or_a_refusal(values: list[str | bytes]) -> None:
    try:
        token = bearer_of([("authorization", value) for value in values])
    except UnauthenticatedError:
        return
    assert len(values) == 1
    assert re.fullmatch(r"[!-~]{1,600}", token)
    assert values[0] == f"{str(values[0])[:6]} {token}"
