"""Options that several verbs share: keys that come through a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command

from escalade.cli.main import app
from escalade.cli.options import open_options

# What they say of a number out of range is their parts', who hold Python's callers to it too.
CHECKED_BELOW = {
    "--activation-bits",
    "--block-size",
    "--clients",
    "--head-bits",
    "--kv-memory",
    "--least",
    "--max-memory",
    "--requests",
    "--resamples",
    "--sample",
    "--top-k",
}


def whole_numbers(command: object) -> Iterator[tuple[str, int | None]]:
    """Each option of every verb that is an `int`, and the least that it may be."""
    for one in getattr(command, "params", ()):
        if one.type_descriptor.annotation is int:
            yield one.opts[0], one.min
    for below in getattr(command, "commands", {}).values():
        yield from whole_numbers(below)


def test_every_whole_number_has_a_least() -> None:
    found = list(whole_numbers(get_command(app)))
    assert {name for name, least in found if least is None} == CHECKED_BELOW
    assert {least for name, least in found if name in {"--seed", "--port", "--web-port"}} == {0}
    assert len([name for name, _ in found if name == "--seed"]) > 10


def test_a_key_from_a_pipe_can_be_read_for_each_member(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_bytes(b"key")
    writer = threading.Thread(target=pipe.write_bytes, args=(b"key",))
    writer.start()
    key = open_options(trusted_key=pipe).trusted_key
    writer.join()
    assert key is not None
    assert [key.read_bytes() for _ in range(2)] == [b"key", b"key"]
    assert open_options(trusted_key=file).trusted_key == file
    assert open_options(trusted_key=tmp_path / "none").trusted_key == tmp_path / "none"
    assert open_options().trusted_key is None
