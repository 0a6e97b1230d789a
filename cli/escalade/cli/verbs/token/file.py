"""Changes a file of tokens, whole, one who changes it at a time; knows no verb."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.errors import TokenFileError

TokensArgument = Annotated[
    Path, typer.Option("--file", help="The file that `serve --tokens` reads.")
]
NameArgument = Annotated[str, typer.Argument(help="The client: 1..64 of A-Z a-z 0-9 _ -.")]

DEFAULT = Path("tokens.toml")


def change(path: Path, edit: Callable[[str], str], *, create: bool = False) -> None:
    """Put another text in place of the one that is there.

    Args:
        path: of a new file only its owner may read and write.
        edit: the new text, given the old one; its ValueError is the user's to mend.
        create: whether it may be a new file.

    Raises:
        TokenFileError: it cannot be read or changed.
        DataError: it cannot be written.
    """
    from escalade.edge.base import atomic_write

    try:
        # The folder is locked, for the file itself is replaced.
        folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be changed: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise TokenFileError(f"{path}: cannot be changed: not a regular file")
        new = create and not path.exists()
        text = edit("" if new else path.read_text())
        if new:
            # What is written keeps the mode that it finds.
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))
        with atomic_write(path) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be changed: {error.strerror}") from error
    except ValueError as error:
        raise TokenFileError(f"{path}: {error}") from error
    finally:
        os.close(folder)
