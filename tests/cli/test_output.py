"""What reaches a terminal, a file and a program: escapes, encodings, closed and broken streams."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.cli.output import harmless, note_console, print_json, print_text
from escalade.cli.tables import show_table
from escalade.simulator.formats import Cell, TextTable

Invoke = Callable[..., tuple[int, str, str]]

#: Moves a cursor, rings, starts a C1 sequence, deletes, turns the line around, is not seen.
EVIL = "\x1b[2J\a\x9b1m\x7f\u202eabc\u202c\u2066\u200b\u2028\ufeff\U000e0041\r"
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(one) in UNSEEN for one in text if one != "\n")


@settings(max_examples=50)
@given(st.text())
def test_what_is_shown_is_seen_and_stays_where_it_is(text: str) -> None:
    shown = harmless(text)
    assert is_harmless(shown)
    assert "\n" not in shown
    if is_harmless(text) and "\n" not in text:
        assert shown == text


def test_it_is_shown_as_an_escape() -> None:
    assert harmless("a\x1b[2J\u202eb\U000e0041\udcff\n") == r"a\x1b[2J\u202eb\U000e0041\udcff\n"
    assert harmless("a\n\tb\r", but="\n\t") == "a\n\tb\\r"
    assert harmless("é \N{IDEOGRAPHIC SPACE}語🙂[red]") == "é \N{IDEOGRAPHIC SPACE}語🙂[red]"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_tables_and_lines_show_names_harmlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    show_table(TextTable(EVIL, [EVIL, "n"], [[Cell(EVIL, EVIL), Cell("1")]]))
    note_console().print(f"passed over: {EVIL}")
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, Terminal)
        assert is_harmless(stream.getvalue())
        assert r"\u202eabc" in stream.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_loses_nothing_of_a_table(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sys, "stdout", shown := Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    names = ["network", "calls to the last tier", "p95", "money a query"]
    cells = [
        Cell("leo-handover"),
        Cell("1,234,567"),
        Cell("98.76 ms", "to 123.45 ms"),
        Cell("1e-9"),
    ]
    show_table(TextTable("What that does", names, [cells]))
    lines = re.sub(r"\x1b\[\d*m", "", shown.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for text in (*names, *(one.text for one in cells), "to", "123.45"):
        for word in text.split():
            assert any(word in found for found in words), (word, lines)


@settings(max_examples=100)
@given(
    st.integers(20, 100),
    st.lists(
        st.lists(st.text("abc ", max_size=30), min_size=8, max_size=8), min_size=1, max_size=3
    ),
)
def test_no_word_of_a_table_is_cut_whatever_its_columns(width: int, rows: list[list[str]]) -> None:
    """rich takes room from the widest columns alone, down to where it cuts words."""
    head = ["network", "calls", "without, p50", "IQR", "achieved, p50", "p99", "residual", "95%"]
    # Lines are broken where a word is wider than all of the terminal.
    texts = [["".join(word[:15] + " " for word in cell.split()) for cell in row] for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", shown := Terminal())
        patch.setenv("NO_COLOR", "1")
        patch.setenv("COLUMNS", str(width))
        show_table(TextTable("Delays", head, [[Cell(one) for one in row] for row in texts]))
    assert "…" not in shown.getvalue()
    assert max(map(len, re.sub(r"\x1b\[\d*m", "", shown.getvalue()).splitlines())) <= width
    found = re.findall(r"[^\s│┃:]+", re.sub(r"\x1b\[\d*m", "", shown.getvalue()))
    wanted = Counter(word for row in texts for cell in row for word in cell.split())
    assert not wanted - Counter(found)


def test_a_group_of_rows_says_its_name_once(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[Cell(name), Cell(number)] for name, number in ("a1", "a2", "b3", "a4")]
    show_table(TextTable("", ["name", "n"], rows), grouped=True)
    drawn = capsys.readouterr().out.splitlines()
    assert [line.split("│")[1].strip() for line in drawn if line.startswith("│")] == [
        "a", "", "b", "a",
    ]  # fmt: skip
    assert sum(line.startswith("├") for line in drawn) == 2


def test_an_answer_is_exact_in_a_file_and_harmless_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = f"क्\u200dष {EVIL}\n\tend"
    print_text(answer)
    assert capsys.readouterr().out == f"{answer}\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_text(answer)
    assert terminal.getvalue() == f"क्\u200dष {harmless(EVIL)}\n\tend\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_the_same_and_harmless_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    value = {"answer": EVIL + "é語🙂\n", "é": [1.5, None, True]}
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    print_json(value)
    assert json.loads(raw.getvalue()) == value
    assert is_harmless(raw.getvalue().decode(encoding))
    assert ("é".encode() in raw.getvalue()) == (encoding == "utf-8")


def test_json_of_a_name_that_is_no_text_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"report": os.fsdecode(b"t\xff.html")})
    assert json.loads(capsys.readouterr().out) == {"report": "t\udcff.html"}


def escalade(command: str, **environment: str) -> tuple[int, str]:
    """Exit code, and all that was written, of `escalade` as `$ESCALADE` in a shell."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "ESCALADE": f"{sys.executable} -m escalade.cli", **environment},
    )
    return done.returncode, done.stdout


def test_closed_and_broken_streams_take_one_line(int8_artifact: Path) -> None:
    closed = "error: standard output is closed; give > /dev/null where it is not wanted\n"
    assert escalade(f"$ESCALADE inspect {int8_artifact} >&-") == (2, closed)
    assert escalade(f"$ESCALADE inspect {int8_artifact} >&- 2>&- <&-") == (2, "")


@pytest.mark.parametrize("verb", ["--version", "inspect --help", "profiles show lte --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_named(verb: str, unbuffered: str) -> None:
    said = escalade(f"$ESCALADE {verb} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert said == (2, "error: standard output: No space left on device\n")


@pytest.mark.parametrize("verb", [["inspect", "--json"], ["inspect"], ["--help"]])
def test_what_nobody_reads_ends_in_silence(int8_artifact: Path, verb: list[str]) -> None:
    """As after `| head -1`, with the reader gone for sure."""
    reading, writing = os.pipe()
    os.close(reading)
    artifact = [str(int8_artifact)] if verb[0] == "inspect" else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", "escalade.cli", *verb, *artifact],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_without_the_characters_gets_escapes(int8_artifact: Path) -> None:
    both = f"$ESCALADE inspect {int8_artifact}; $ESCALADE inspect é"
    code, out = escalade(both, PYTHONIOENCODING="ascii")
    assert (code, out.isascii(), r"error: \xe9: not an artifact" in out) == (2, True, True)


def test_a_file_whose_name_is_no_text_is_a_file(
    invoke: Invoke, int8_artifact: Path, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(b"\xff\x1b[2J.jsonl")
    code, _, err = invoke("calibrate", int8_artifact, "--data", path, "--target-deferral-rate", "1")
    assert code == 2
    assert err.startswith(f"error: {tmp_path}/" + r"\udcff\x1b[2J.jsonl: cannot be read")
