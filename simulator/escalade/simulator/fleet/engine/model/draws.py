"""Random numbers by what they are for, not by when they are asked for; knows no queue.

A number is keyed by the run, the device, the device's query, what it is for and the attempt, so
that it depends on no other device, no thread and no order. The generator is SplitMix64 (Steele,
Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), which is a mix of a
counter; here the counter is the key.
"""

from __future__ import annotations

import math

import numpy as np

from escalade.simulator.fleet.engine.compiling import compiled, inner

#: What a number of a query is for.
ARRIVAL, RECORD, LINK, BACKOFF = 0, 1, 2, 3
_STREAMS = np.uint64(4)

# The constants of SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32, _11 = (np.uint64(bits) for bits in (30, 27, 31, 32, 11))


@inner
def _mix(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> _30)) * _FIRST
    word = (word ^ (word >> _27)) * _SECOND
    return word ^ (word >> _31)


@inner
def word_of(seed: int, device: int, query: int, use: int, attempt: int) -> np.uint64:
    """64 random bits."""
    of_device = _mix(_mix(np.uint64(seed)) + np.uint64(device) * _GOLDEN)
    word = _mix(of_device + (np.uint64(query) * _STREAMS + np.uint64(use)) * _GOLDEN)
    return word if attempt == 0 else _mix(word + np.uint64(attempt) * _GOLDEN)


@compiled
def uniform(seed: int, device: int, query: int, use: int, attempt: int) -> float:
    """A number in [0, 1)."""
    return float(word_of(seed, device, query, use, attempt) >> _11) * 2.0**-53


@inner
def exponential(seed: int, device: int, query: int) -> float:
    """The unit exponential between a device's query and the one before."""
    return -math.log(1.0 - uniform(seed, device, query, ARRIVAL, 0))


@compiled
def record_of(seed: int, device: int, query: int, records: int) -> int:
    """Which of so many recorded queries, fewer than 2**32, a query is."""
    word = word_of(seed, device, query, RECORD, 0)
    return int(((word >> _32) * np.uint64(records)) >> _32)


@inner
def sample_of(seed: int, device: int, query: int, attempt: int, samples: int) -> int:
    """Which of so many sampled calls an attempt meets the network as."""
    word = word_of(seed, device, query, LINK, attempt)
    return int(((word >> _32) * np.uint64(samples)) >> _32)
