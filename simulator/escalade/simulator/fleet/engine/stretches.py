"""How a run is cut, into stretches of time and blocks of devices; runs nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from escalade.simulator.fleet.engine.model import Floats, Model

#: Devices of a block, at most, and blocks, at least: work for the threads to share.
_BLOCK, _BLOCKS = 1 << 14, 16


def ends_s(model: Model, stretch: int) -> list[float]:
    """When the stretches end, the last with the run; as many queries are expected in each."""
    devices = np.diff(model.first_device)
    times_s = np.unique(np.concatenate([[0.0, model.seconds], model.piece_from_s]))
    expected = sum(
        many * _expected(model, group, times_s) for group, many in enumerate(devices.tolist())
    )
    many = max(1, math.ceil(expected[-1] / stretch))
    shares = expected[-1] * np.arange(1, many) / many
    return [*np.interp(shares, expected, times_s).tolist(), model.seconds]


def _expected(model: Model, group: int, times_s: Floats) -> Floats:
    """How many queries one device of a group has until each time, on average."""
    if times := int(model.first_time[group + 1] - model.first_time[group]):
        recorded: Floats = times_s * times / float(model.period_s[group])
        return recorded
    pieces = slice(model.first_piece[group], model.first_piece[group + 1])
    from_s = model.piece_from_s[pieces]
    place = np.searchsorted(from_s, times_s, side="right") - 1
    gone: Floats = model.piece_sum[pieces][place]
    gone += (times_s - from_s[place]) * model.piece_rate[pieces][place]
    return gone


def blocks_of(model: Model) -> Iterator[tuple[int, int]]:
    """The first device of each block, and the one after its last; a block is of one group."""
    size = min(_BLOCK, math.ceil(int(model.first_device[-1]) / _BLOCKS))
    for first, last in pairwise(model.first_device.tolist()):
        for begin in range(first, last, size):
            yield begin, min(begin + size, last)
