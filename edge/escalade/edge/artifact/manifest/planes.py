"""Integers that are stored in planes, as a manifest lists them; reads no file.

Kernels read integers of 2, 4 and 8 bits. Those of 3, 5 and 6 are stored as two planes, their upper
bits and what is below, each packed by itself, the lowest bits first. Joined they are the upper bits
of the next wider integer: the same numbers on a scale that is as much smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from escalade.edge.deferral import Table

_KERNEL_BITS = (2, 4, 8)
_BYTE = 8
_PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2)}


def kernel_bits(bits: int) -> int:
    """Of the integers that a kernel reads where so many are stored, at most 8."""
    return next(wide for wide in _KERNEL_BITS if wide >= bits)


def places_of(bits: int) -> Iterator[tuple[int, int]]:
    """Of each plane that integers are stored as its bits, and how many are below it."""
    below = bits
    for plane in _PLANES.get(bits, (bits,)):
        below -= plane
        yield plane, below


def planes_name(program: str) -> str:
    """The file in which an ONNX program's integers of 3, 5 and 6 bits are stored."""
    return f"{program}.planes"


class PlanesEntry(Table, frozen=True, kw_only=True):
    """A matrix whose integers are stored in planes."""

    bits: Literal[3, 5, 6]
    #: How many, with those that fill its last blocks up.
    integers: Annotated[int, msgspec.Meta(ge=8, le=1 << 44, multiple_of=8)]

    @property
    def stored_bytes(self) -> int:
        """Of its planes."""
        return self.integers * self.bits // _BYTE

    @property
    def joined_bytes(self) -> int:
        """Of what a kernel reads."""
        return self.integers * kernel_bits(self.bits) // _BYTE
