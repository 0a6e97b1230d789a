"""Checks the files of a folder against names, sizes and digests; knows no manifest, no network.

What it refuses, it refuses before a byte of it is used: names that leave the folder, links,
files that are longer than they may be.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from escalade.edge.base import sha256_of
from escalade.edge.errors import ArtifactError

# Plain names of one component that every file system takes: no separator, no drive or stream of
# Windows (`:`), no control character, nothing hidden, nothing that reads like an option.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
# What this system has of them: Windows has the last alone.
_PLAIN = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
#: 1 TiB: more than any device has, and little enough for sums of sizes to stay exact.
MAX_FILE_BYTES = 1 << 40


def open_plain(path: Path) -> IO[bytes]:
    """Open a regular file for reading; never through a link, never a pipe or a device.

    Raises:
        ArtifactError: it is missing, or something else.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ArtifactError(f"{path}: missing, or not a regular file")
        # Whoever owns the folder may have changed it since: neither followed nor waited for.
        descriptor = os.open(path, os.O_RDONLY | _PLAIN)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise ArtifactError(f"{path}: missing, or not a regular file")
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ArtifactError(f"{path}: missing, or not a regular file: {error}") from error


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The content of a small regular file.

    Raises:
        ArtifactError: it is missing, no regular file, or longer than `most_bytes`.
    """
    with open_plain(path) as stream:
        return bounded(stream, path, most_bytes)


def bounded(stream: IO[bytes], name: object, most_bytes: int) -> bytes:
    """The rest of a stream, read no further than one byte beyond `most_bytes`.

    Raises:
        ArtifactError: it is longer. The message calls it `name`.
    """
    content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ArtifactError(f"{name}: more than {most_bytes} bytes")
    return content


def check_listing(where: object, files: Iterable[tuple[str, int, str]]) -> None:
    """Check what a manifest claims of its files, before any of them is looked at.

    Args:
        where: the manifest, for messages.
        files: name, size in bytes and sha256 of each.

    Raises:
        ArtifactError: a name leaves the folder or differs from another by case alone, a size
            is out of range, a digest is none.
    """
    seen: dict[str, str] = {}
    for name, size, sha256 in files:
        if not _NAME.fullmatch(name):
            raise ArtifactError(
                f"{where}: file name {name[:200]!r} leaves the artifact's folder, or is not 1 to"
                " 128 letters, digits, '.', '_' and '-'"
            )
        if (twin := seen.setdefault(name.lower(), name)) != name:
            raise ArtifactError(f"{where}: file names {twin} and {name} differ by case alone")
        if not 0 <= size <= MAX_FILE_BYTES:
            raise ArtifactError(
                f"{where}: size of {name} must be in 0-{MAX_FILE_BYTES}, got {str(size)[:24]}"
            )
        if not _SHA256.fullmatch(sha256):
            raise ArtifactError(
                f"{where}: sha256 of {name} must be 64 hexadecimal digits, got {sha256[:80]!r}"
            )


def check_file(path: Path, size: int, sha256: str) -> None:
    """Hold a file against its listed size and sha256.

    Raises:
        ArtifactError: it is missing, a link, or differs.
    """
    with open_plain(path) as stream:
        found = os.fstat(stream.fileno()).st_size
    if found != size:
        raise ArtifactError(f"{path}: {found} bytes, the manifest says {size}")
    digest = sha256_of(path)
    if digest != sha256:
        raise ArtifactError(
            f"{path}: altered: sha256 {digest[:12]}, the manifest says {sha256[:12]}"
        )


def check_nothing_else(folder: Path, listed: Iterable[str]) -> None:
    """Refuse what lies in the folder and is not listed.

    Hidden files pass: those who write aside leave them for a moment, file managers for good.
    Export lists no hidden file, so no graph of an artifact that is otherwise whole reads one.

    Raises:
        ArtifactError: the first of them, by name.
    """
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if unlisted := sorted(found - set(listed)):
        raise ArtifactError(f"{folder}: {unlisted[0]}: the manifest does not list it")
