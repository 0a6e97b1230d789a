"""Keeps a file of JSON Lines whole while it grows: every line or none of it; knows no trace."""

from __future__ import annotations

import os
import stat
from io import FileIO

import msgspec

from escalade.edge.base import UNDECODABLE

_CHUNK_BYTES = 1 << 16


def is_regular(stream: FileIO) -> bool:
    """Whether it is an ordinary file, which can be read, locked and cut; a pipe is none."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def is_torn_start(stream: FileIO, start: bytes) -> bool:
    """Whether a file holds a first line that was cut off, and nothing else.

    Args:
        stream: at its beginning, where it is left.
        start: of every first line of such a file.
    """
    head = stream.read(_CHUNK_BYTES)
    stream.seek(0)
    if not head.strip(b"\0"):  # a file system may have kept its length, and not its content
        return True
    return head[: len(start)] == start[: len(head)] and b"\n" not in head and not _is_json(head)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except UNDECODABLE:
        return False
    return True


def mend(stream: FileIO) -> None:
    """End the last line of a file where it lacks its end, or take it away where it is torn.

    Raises:
        OSError: it cannot be read or written.
    """
    size = stream.seek(0, os.SEEK_END)
    tail, begins = b"", size
    while begins and b"\n" not in tail:
        step = min(begins, _CHUNK_BYTES)
        begins = stream.seek(begins - step)
        tail = stream.read(step) + tail
    whole, newline, line = tail.rpartition(b"\n")
    if not line:
        return
    if _is_json(line):
        write_whole(stream, b"\n")
    else:
        stream.truncate(begins + len(whole) + len(newline))


def write_whole(stream: FileIO, content: bytes) -> None:
    """Write at the end of a file, or leave it as it was: half a line would spoil all of it.

    Raises:
        OSError: it cannot be written.
    """
    before = os.fstat(stream.fileno()).st_size
    written = 0
    try:
        while written < len(content):
            written += stream.write(content[written:])
    except OSError:
        if written and is_regular(stream):
            stream.truncate(before)
        raise
