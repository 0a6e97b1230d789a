"""Keeps some of the prompts that a model was trained on in its checkpoint; knows no model.

They are for whoever rounds the weights later: text of the kind that the model will be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from escalade.checkpoint import PROMPTS_NAME
from escalade.edge.base import Record, write_records

# Of all prompts, so that long ones do not make a checkpoint large: room for 4,096 of 1 KiB.
_MOST_BYTES = 1 << 22


def draw_prompts(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Some of the records, without their references, in the order in which they are given.

    Fewer than `count` where there are no more, or where these have 4 MiB of prompts.

    Args:
        records: of the training split.
        count: of those drawn.
        seed: of the draw; a larger count draws the same ones, and others.
    """
    drawn, left = [], _MOST_BYTES
    for place in np.random.default_rng(seed).permutation(len(records))[:count]:
        left -= len(records[place].prompt.encode())
        if left < 0:
            break
        drawn.append(place)
    return [msgspec.structs.replace(records[place], references=[]) for place in sorted(drawn)]


def write_prompts(folder: Path, records: Sequence[Record], count: int, seed: int) -> int:
    """Write drawn prompts into a checkpoint's folder, where there are any; returns how many."""
    drawn = draw_prompts(records, count, seed)
    return write_records(folder / PROMPTS_NAME, drawn) if drawn else 0
