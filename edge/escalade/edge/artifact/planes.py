"""Packs integers of few bits into bytes, and joins those in planes; knows no program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact.manifest import PlanesEntry, kernel_bits, places_of
from escalade.edge.errors import ArtifactError

_BYTE = 8
# Joined at a time: what is looked up stays in a core's cache.
_INTEGERS = 1 << 16


def pack_integers(integers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Of rows, `(N, K)`, the bytes `(N, K * bits / 8)`, the lowest bits first.

    Args:
        integers: of at most so many bits; K fills bytes.
        bits: 1, 2, 4 or 8.
    """
    each = _BYTE // bits
    packed: NDArray[np.uint8] = integers[:, ::each].copy()
    for place in range(1, each):
        packed |= integers[:, place::each] << np.uint8(place * bits)
    return packed


def join_planes(stored: Path, entries: Sequence[PlanesEntry]) -> NDArray[np.uint8]:
    """What kernels read of a file of planes: matrix after matrix, of each plane after plane.

    Args:
        stored: the file.
        entries: of each matrix, in the file's order.

    Raises:
        ArtifactError: the file is not as long as the entries say.
    """
    _check_length(stored, entries)
    joined = np.empty(sum(entry.joined_bytes for entry in entries), np.uint8)
    first = 0
    for entry, planes in _planes_in(stored, entries):
        _join(planes, entry.bits, joined[first : first + entry.joined_bytes])
        first += entry.joined_bytes
    return joined


def joined_matrices(stored: Path, entries: Sequence[PlanesEntry]) -> Iterator[NDArray[np.uint8]]:
    """What `join_planes` gives, matrix by matrix: no two are there at once.

    Raises:
        ArtifactError: the file is not as long as the entries say.
    """
    _check_length(stored, entries)
    for entry, planes in _planes_in(stored, entries):
        joined = np.empty(entry.joined_bytes, np.uint8)
        _join(planes, entry.bits, joined)
        yield joined


def _check_length(stored: Path, entries: Sequence[PlanesEntry]) -> None:
    needed = sum(entry.stored_bytes for entry in entries)
    size = stored.stat().st_size if stored.is_file() else 0
    if size != needed:
        raise ArtifactError(f"{stored}: must have {needed} bytes of planes, has {size}")


def _planes_in(
    stored: Path, entries: Sequence[PlanesEntry]
) -> Iterator[tuple[PlanesEntry, list[NDArray[np.uint8]]]]:
    at = 0
    for entry in entries:
        planes: list[NDArray[np.uint8]] = []
        for plane, _ in places_of(entry.bits):
            count = entry.integers * plane // _BYTE
            planes.append(np.memmap(stored, np.uint8, "r", at, (count,)))
            at += count
        yield entry, planes


def _join(planes: Sequence[NDArray[np.uint8]], bits: int, out: NDArray[np.uint8]) -> None:
    """Of one matrix, into `(integers * kernel bits / 8,)`."""
    wide = kernel_bits(bits)
    tables = [_table(plane, below + wide - bits, wide) for plane, below in places_of(bits)]
    for first in range(0, len(out) * _BYTE // wide, _INTEGERS):
        part = out[first * wide // _BYTE : (first + _INTEGERS) * wide // _BYTE]
        part[:] = 0
        for packed, table, (plane, _) in zip(planes, tables, places_of(bits), strict=True):
            some = packed[first * plane // _BYTE : (first + _INTEGERS) * plane // _BYTE]
            part |= table[some].view(np.uint8)


def _table(plane: int, above: int, wide: int) -> NDArray[np.unsignedinteger]:
    """`(256,)`: what a byte of a plane stands for in integers of `wide` bits, as many as it has."""
    integers = np.arange(0, _BYTE, plane, dtype=np.uint8)
    parts = np.arange(1 << _BYTE, dtype=np.uint8)[:, None] >> integers
    packed = pack_integers((parts & np.uint8((1 << plane) - 1)) << np.uint8(above), wide)
    return packed.view(f"u{packed.shape[1]}")[:, 0]
