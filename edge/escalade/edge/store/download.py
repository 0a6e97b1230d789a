"""Fetches an artifact's files by their digest; knows no store, no signature.

What an earlier attempt left is continued, nothing is read beyond the size the manifest gives,
and a file is there only once its sha256 is right.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from escalade.edge.artifact import bounded
from escalade.edge.base import sha256_of
from escalade.edge.errors import ArtifactError, StoreError
from escalade.edge.store.sources import Source

#: Called with the bytes that have come since the last call; fewer than none where some were bad.
Received = Callable[[int], None]

_CHUNK_BYTES = 1 << 18


def fetch_small(source: Source, name: str, most_bytes: int) -> bytes:
    """The content of a small file.

    Raises:
        FileNotFoundError: the source has no such file.
        ArtifactError: it is longer than `most_bytes`, or no regular file.
        StoreError: it cannot be read.
    """
    with source.open(name, 0) as (stream, _):
        try:
            return bounded(stream, f"{source}/{name}", most_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"{source}/{name}: ended early: {error}") from error


def fetch(
    source: Source, name: str, size: int, sha256: str, partial: Path, received: Received
) -> None:
    """Fetch one file into `partial`, going on from what is there already.

    A connection that breaks is made again at once, as long as each comes further than the last.
    A file that is whole is not written again: it may be a version's too, and be read-only.

    Args:
        source: where the file is.
        name: of the file.
        size: in bytes, as the manifest says; nothing beyond is read.
        sha256: as the manifest says.
        partial: on return, the whole file. After an error, what has come so far.
        received: called as bytes come.

    Raises:
        ArtifactError: the source has another content.
        StoreError: the source cannot be read, or ended early: call again to go on.
        OSError: `partial` cannot be written.
    """
    if partial.exists():
        if partial.stat().st_size == size and sha256_of(partial) == sha256:
            received(size)
            return
        if partial.stat().st_size >= size or not os.access(partial, os.W_OK):
            partial.unlink()
    resumed = partial.exists()
    while True:
        _fetch_rest(source, name, size, partial, received)
        found = sha256_of(partial)
        if found == sha256:
            return
        received(-size)
        partial.unlink()
        if not resumed:
            raise ArtifactError(
                f"{source}/{name}: sha256 {found[:12]}, the manifest says {sha256[:12]}"
            )
        resumed = False  # what an earlier attempt left may be what was wrong


def _fetch_rest(source: Source, name: str, size: int, partial: Path, received: Received) -> None:
    with partial.open("ab") as sink:
        there = sink.tell()
        received(there)
        furthest = there
        while there < size:
            try:
                with source.open(name, there) as (stream, begins):
                    if begins != there:
                        received(begins - there)
                        there = sink.truncate(begins)
                    while there < size and (chunk := _read(stream, size - there)):
                        sink.write(chunk)
                        there += len(chunk)
                        received(len(chunk))
            except FileNotFoundError as error:
                raise ArtifactError(f"{source}/{name}: missing; the manifest lists it") from error
            if there <= furthest:
                raise StoreError(
                    f"{source}/{name}: ended after {there} of {size} bytes; run again to go on"
                )
            furthest = there
        sink.flush()
        os.fsync(sink.fileno())


def _read(stream: IO[bytes], most: int) -> bytes:
    """The next bytes; none where the connection broke, as at the end."""
    try:
        return stream.read(min(most, _CHUNK_BYTES))
    except (OSError, http.client.HTTPException):
        return b""
