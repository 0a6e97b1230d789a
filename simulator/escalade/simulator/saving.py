"""Writes columns of numbers for notebooks, as CSV and Parquet; knows no result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from escalade.edge.base import atomic_write
from escalade.simulator.frames import Frame, csv_of


def write_frames(folder: Path, frames: Sequence[Frame]) -> list[Path]:
    """Write each as CSV and as Parquet; returns the files.

    Raises:
        DataError: one cannot be written.
    """
    written = []
    for frame in frames:
        plain, packed = (folder / f"{frame.name}.{kind}" for kind in ("csv", "parquet"))
        with atomic_write(plain) as stream:
            stream.write(csv_of(frame).encode())
        with atomic_write(packed) as stream:
            pq.write_table(pa.table(dict(frame.columns)), stream)
        written += [plain, packed]
    return written
