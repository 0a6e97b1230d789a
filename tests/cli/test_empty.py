"""What is given and empty is refused by every verb, in one line that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from escalade.cli.main import app

Invoke = Callable[..., tuple[int, str, str]]

# A query, its system message and its kind; another program's arguments.
TEXTS = {("ask", "prompt"), ("ask", "--system"), ("ask", "--task"), ("netns", "command")}
COMMAND: Any = get_command(app)
WORDS = ("Path", "<class 'str'>", "list[str]")


def taken(
    command: Any = COMMAND, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each verb's options and arguments that are words or paths."""
    for parameter in command.params:
        kind = str(
            getattr(parameter, "type_descriptor", None) and parameter.type_descriptor.annotation
        )
        if any(word in kind for word in WORDS) and (*path[-1:], parameter.opts[0]) not in TEXTS:
            yield path, parameter
    for name, one in getattr(command, "commands", {}).items():
        yield from taken(one, (*path, name))


CASES = {" ".join((*path, one.opts[0])): (path, one) for path, one in taken()}


@pytest.mark.parametrize("case", CASES)
def test_nothing_that_is_given_is_empty(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path, empty = CASES[case]
    command = COMMAND
    for name in path:
        command = command.commands[name]
    line = list(path)
    for one in command.params:
        if one is empty or one.name == empty.name or one.required:
            value = "" if one.name == empty.name else "1"
            line += [one.opts[0], value] if one.opts[0].startswith("-") else [value]
    code, out, err = invoke(*line)
    assert (code, out) == (2, "")
    (said,) = err.splitlines()
    assert said.startswith("error: Invalid value for '")
    assert (empty.metavar or empty.opts[0]) in said
    assert "must " in said
    assert ", got ''; see escalade" in said
    assert list(tmp_path.iterdir()) == []


def test_paths_are_among_what_is_looked_at() -> None:
    assert {
        "export model",
        "export --gptq",
        "export --golden",
        "learn paths",
        "trace models",
    } <= set(CASES)
    assert {"profiles --profiles", "store install source", "token list --file"} <= set(CASES)


def test_a_name_without_a_file_is_no_file(invoke: Invoke) -> None:
    code, out, err = invoke("evaluate", "small=")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: small=: cannot be read")
