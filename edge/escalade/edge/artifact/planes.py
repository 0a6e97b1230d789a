"""Joins integers that are stored in planes into the bytes that kernels read; knows no program.

Kernels read integers of 2, 4 and 8 bits. Those of 3, 5 and 6 are stored as two planes, their upper
bits and what is below, each packed by itself, the lowest bits first. Joined they are the upper bits
of the next wider integer: the same numbers on a scale that is as much smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact.manifest import PlanesEntry
from escalade.edge.errors import ArtifactError

_KERNEL_BITS = (2, 4, 8)
_BYTE = 8
_PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2)}
# Joined at a time: what is looked up stays in a core's cache.
_INTEGERS = 1 << 16


def kernel_bits(bits: int) -> int:
    """Of the integers that a kernel reads where so many are stored, at most 8."""
    return next(wide for wide in _KERNEL_BITS if wide >= bits)


def places_of(bits: int) -> Iterator[tuple[int, int]]:
    """Of each plane that integers are stored as its bits, and how many are below it."""
    below = bits
    for plane in _PLANES.get(bits, (bits,)):
        below -= plane
        yield plane, below


def join_planes(stored: Path, entries: Sequence[PlanesEntry]) -> NDArray[np.uint8]:
    """What kernels read of a file of planes: matrix after matrix, of each plane after plane.

    Args:
        stored: the file.
        entries: of each matrix, in the file's order.

    Raises:
        ArtifactError: the file is not as long as the entries say, or they are of no planes.
    """
    counts = []
    for entry in entries:
        if entry.bits not in _PLANES or entry.integers % _BYTE:
            raise ArtifactError(
                f"{stored}: planes are of 3, 5 or 6 bits and a multiple of 8 integers, got"
                f" {entry.bits} bits and {entry.integers} integers"
            )
        counts += [entry.integers * plane // _BYTE for plane, _ in places_of(entry.bits)]
    size = stored.stat().st_size if stored.is_file() else 0
    if size != sum(counts):
        raise ArtifactError(f"{stored}: must have {sum(counts)} bytes of planes, has {size}")
    sizes = [entry.integers * kernel_bits(entry.bits) // _BYTE for entry in entries]
    joined = np.empty(sum(sizes), np.uint8)
    at = first = 0
    for entry, length in zip(entries, sizes, strict=True):
        planes = []
        for plane, _ in places_of(entry.bits):
            count = entry.integers * plane // _BYTE
            planes.append(np.memmap(stored, np.uint8, "r", at, (count,)))
            at += count
        _join(planes, entry.bits, joined[first : first + length])
        first += length
    return joined


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
    parts = (parts & np.uint8((1 << plane) - 1)) << np.uint8(above)
    each = _BYTE // wide
    packed = np.zeros((len(parts), len(integers) // each), np.uint8)
    for place in range(each):
        packed |= parts[:, place::each] << np.uint8(place * wide)
    return packed.view(f"u{packed.shape[1]}")[:, 0]
