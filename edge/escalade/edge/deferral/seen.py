"""Which prompts a router has learned from, as a small file; knows no router and no trace.

A guarantee holds on queries that a rule has not learned from. They are told by their prompts, so
that it does not matter which file they come in, or with which answers: 8 bytes of each prompt's
SHA-256, in order. One of N prompts is taken for another with probability N / 2^64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from escalade.edge.base import atomic_write
from escalade.edge.errors import ArtifactError

_BYTES = 8

#: Digests of prompts.
Seen = frozenset[bytes]


def digest_of(prompt: str) -> bytes:
    """What is kept of a prompt."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:_BYTES]


def seen_of(prompts: Iterable[str]) -> Seen:
    """What is kept of prompts."""
    return frozenset(map(digest_of, prompts))


def write_seen(path: Path, seen: Seen) -> None:
    """Write digests, aside and renamed.

    Raises:
        DataError: the file cannot be written.
    """
    with atomic_write(path) as stream:
        stream.writelines(sorted(seen))


def read_seen(path: Path) -> Seen:
    """Read them.

    Raises:
        ArtifactError: the file cannot be read, or ends within a digest.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) % _BYTES:
        raise ArtifactError(f"{path}: must be digests of {_BYTES} bytes, got {len(raw)} bytes")
    return frozenset(raw[at : at + _BYTES] for at in range(0, len(raw), _BYTES))
