"""Integers in planes: joined they are what they were, and a file that is none is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalade.edge.artifact import PlanesEntry, join_planes, kernel_bits, places_of
from escalade.edge.errors import ArtifactError

MATRICES = st.lists(
    st.tuples(st.sampled_from([3, 5, 6]), st.integers(1, 40), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=4,
)


def packed(integers: np.ndarray, bits: int) -> bytes:
    """By numpy's own bits: the lowest of the first integer first."""
    places = integers[:, None] >> np.arange(bits) & 1
    return np.packbits(places.astype(np.uint8), bitorder="little").tobytes()


@given(MATRICES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_planes_join_to_the_upper_bits_of_wider_integers(
    tmp_path: Path, matrices: list[tuple[int, int, int]]
) -> None:
    stored, expected, entries = b"", b"", []
    for bits, eights, seed in matrices:
        integers = np.random.default_rng(seed).integers(0, 1 << bits, 8 * eights)
        for plane, below in places_of(bits):
            stored += packed(integers >> below & (1 << plane) - 1, plane)
        wide = kernel_bits(bits)
        expected += packed(integers << (wide - bits), wide)
        entries.append(PlanesEntry(bits=bits, integers=8 * eights))
    (tmp_path / "planes").write_bytes(stored)
    assert join_planes(tmp_path / "planes", entries).tobytes() == expected


def test_a_large_matrix_is_joined_part_by_part(tmp_path: Path) -> None:
    integers = np.random.default_rng(0).integers(0, 32, 3 * (1 << 16) + 8)
    stored = packed(integers >> 1, 4) + packed(integers & 1, 1)
    (tmp_path / "planes").write_bytes(stored)
    joined = join_planes(tmp_path / "planes", [PlanesEntry(bits=5, integers=len(integers))])
    assert np.array_equal(joined, integers << 3)


@pytest.mark.parametrize(
    ("bits", "integers", "written", "message"),
    [
        (5, 16, 9, "must have 10 bytes of planes, has 9"),
        (5, 16, 11, "must have 10 bytes of planes, has 11"),
        (3, 1 << 40, 6, "must have 412316860416 bytes of planes, has 6"),
        (6, 8, None, "must have 6 bytes of planes, has 0"),
    ],
)
def test_what_are_no_planes_is_one_line(
    bits: int, integers: int, written: int | None, message: str, tmp_path: Path
) -> None:
    if written is not None:
        (tmp_path / "planes").write_bytes(bytes(written))
    with pytest.raises(ArtifactError, match=message):
        join_planes(tmp_path / "planes", [PlanesEntry(bits=bits, integers=integers)])
