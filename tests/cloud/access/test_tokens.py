"""The file of tokens: what is kept of a token, what is refused, what a change leaves as it was."""

from __future__ import annotations

import tempfile
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.access import (
    Limits,
    entry_of,
    make_token,
    read_tokens,
    with_entry,
    without_entry,
)
from escalade.cloud.access.tokens import MAX_TOKENS_BYTES, Tokens, parse_tokens
from escalade.cloud.errors import TokensError, UnauthenticatedError

NOW = datetime(2026, 11, 26, tzinfo=UTC)
LINE = f'sha256 = "{"0" * 64}"'

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
LIMITS = st.builds(Limits, *[st.one_of(st.none(), st.integers(1, 1 << 53)) for _ in Limits._fields])
EXPIRIES = st.one_of(
    st.none(), st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
)


def test_a_token_is_long_and_its_file_does_not_have_it() -> None:
    token = make_token()
    assert token.startswith("esc_")
    assert len(token) == 47
    text = with_entry("", "phone", entry_of(token, Limits()))
    assert token not in text
    assert token[4:] not in text
    assert Tokens(parse_tokens(text)).whose(token, NOW) == ("phone", Limits())


def test_each_token_is_its_own_clients() -> None:
    tokens = {f"phone-{n}": make_token() for n in range(50)}
    text = ""
    for n, (name, token) in enumerate(tokens.items()):
        text = with_entry(text, name, entry_of(token, Limits(n + 1)))
    assert len(text.splitlines()) == 50
    known = Tokens(parse_tokens(text))
    for n, (name, token) in enumerate(tokens.items()):
        assert known.whose(token, NOW) == (name, Limits(n + 1))
        for wrong in (token[:-1], token + "A", token.swapcase(), ""):
            with pytest.raises(UnauthenticatedError, match="not known here, or was revoked"):
                known.whose(wrong, NOW)


def test_it_expires_on_the_second() -> None:
    token = make_token()
    known = Tokens({"phone": entry_of(token, Limits(), NOW)})
    assert known.whose(token, NOW - timedelta(seconds=1))
    with pytest.raises(UnauthenticatedError, match="token of phone: expired at 2026-11-26T00:00"):
        known.whose(token, NOW)


@given(st.dictionaries(NAMES, st.tuples(LIMITS, EXPIRIES), max_size=5), st.data())
def test_lines_come_and_go_and_leave_the_others(
    clients: dict[str, tuple[Limits, datetime | None]], data: st.DataObject
) -> None:
    text = "# ours\n"
    for name, (limits, expires) in clients.items():
        text = with_entry(text, name, entry_of(make_token(), limits, expires))
    entries = parse_tokens(text)
    assert {name: one.limits for name, one in entries.items()} == {
        name: limits for name, (limits, _) in clients.items()
    }
    for name, (_, expires) in clients.items():
        assert entries[name].expires == (expires and expires.replace(microsecond=0))
    if clients:
        gone = data.draw(st.sampled_from(sorted(clients)))
        text = without_entry(text, gone)
        assert parse_tokens(text) == {one: entries[one] for one in clients if one != gone}
        assert text.startswith("# ours\n")


@given(st.one_of(st.text(max_size=200), st.from_regex(r"[a-b.\[\]={}\" \n0-9]{0,40}")))
def test_any_text_is_clients_or_one_message(text: str) -> None:
    said, entries = "", None
    try:
        entries = parse_tokens(text)
    except ValueError as error:
        said = str(error)
    assert 0 < len(said) < 400 if entries is None else set(entries) == set(tomllib.loads(text))


@given(st.binary(max_size=200))
def test_any_bytes_are_clients_or_one_message(raw: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        said = file.name
        try:
            read_tokens(Path(file.name))
        except TokensError as error:
            said = str(error)
    assert said.startswith(file.name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phone", "not valid TOML"),
        ("phone = 3", "phone: Expected `object`, got `int`"),
        ("phone = { }", "phone: Object missing required field `sha256`"),
        ('phone = { sha256 = "abc" }', "phone: Expected `str` matching regex"),
        (f"phone = {{ {LINE}, sha265 = 1 }}", "phone: Object contains unknown field `sha265`"),
        (
            f"phone = {{ {LINE}, expires = 2026-12-24 }}",
            "phone: Expected `datetime | null`, got `date`",
        ),
        (f"phone = {{ {LINE}, requests_per_minute = 0 }}", "phone: Expected `int` >= 1"),
        (
            f"phone = {{ {LINE}, tokens_per_day = 1.5 }}",
            "`int | null`, got `float`",
        ),
        (f"a = {{ {LINE} }}\nb = {{ {LINE} }}", "b: has the token of a"),
        (f'"a b" = {{ {LINE} }}', "name must be 1..64 of A-Z a-z 0-9 _ -, got 'a b'"),
        (f"{'a' * 65} = {{ {LINE} }}", "name must be 1..64"),
        (f"a = {{ {LINE} }}\na = {{ {LINE} }}", "not valid TOML: Cannot overwrite"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(TokensError) as failure:
        read_tokens(path)
    assert str(failure.value).startswith(f"{path}: ")
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_file_that_cannot_be_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    with pytest.raises(TokensError, match="tokens.toml: cannot be read: .*No such file"):
        read_tokens(path)
    path.write_bytes(b"#" * (MAX_TOKENS_BYTES + 1))
    with pytest.raises(TokensError, match=f"must be at most {MAX_TOKENS_BYTES} bytes"):
        read_tokens(path)
    path.write_bytes(b"")
    path.chmod(0o666)
    with pytest.raises(TokensError, match=r"anybody may write it.*chmod o-w"):
        read_tokens(path)


def test_a_line_that_is_not_ours_is_not_torn(tmp_path: Path) -> None:
    by_hand = f'[phone]\n{LINE}\n\n[other]\nsha256 = "{"1" * 64}"\n'
    with pytest.raises(ValueError, match="change it by hand"):
        without_entry(by_hand, "phone")
    with pytest.raises(ValueError, match="change it by hand"):
        with_entry(by_hand, "new", entry_of(make_token(), Limits()))
    with pytest.raises(ValueError, match="phone: has a token already"):
        with_entry(by_hand, "phone", entry_of(make_token(), Limits()))
    with pytest.raises(ValueError, match="nobody: no such client"):
        without_entry(by_hand, "nobody")
