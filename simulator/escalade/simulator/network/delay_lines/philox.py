"""Uniform numbers of many keyed generators at once; knows no network.

Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011): Philox4x64-10 is a function
of key and counter, so that one generator for each query is one product over all queries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# Random123's constants: multipliers of a round, and what the key grows by after each (the golden
# ratio's and the square root of 3's fractions).
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_WORDS = 4

_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_MODULUS = 1 << 64


def uniforms(
    seed: int, queries: Words, counter: tuple[int, int, int], count: int
) -> NDArray[np.float64]:
    """What `numpy.random.Generator.random` gives first, to the last bit.

    Args:
        seed: first word of every key.
        queries: `(N,)` second words, a generator each.
        counter: words 1 to 3 of where all of them begin; word 0 is 0.
        count: how many numbers of each.

    Returns:
        `(count, N)` in [0, 1).
    """
    rows: list[Words] = []
    for block in range(-(-count // _WORDS)):
        # numpy counts up before it computes.
        words = [np.full(len(queries), word, np.uint64) for word in (block + 1, *counter)]
        rows += _block(words, seed, queries)
    # The upper 53 bits, as numpy's `next_double`.
    drawn = np.array(rows[:count], dtype=np.uint64).reshape(count, len(queries))
    return np.asarray((drawn >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _block(words: list[Words], seed: int, queries: Words) -> list[Words]:
    for turn in range(_ROUNDS):
        first = np.uint64((seed + turn * _WEYL[0]) % _MODULUS)
        second = queries + np.uint64(turn * _WEYL[1] % _MODULUS)
        high, low = _product(_MULTIPLIERS[0], words[0])
        other_high, other_low = _product(_MULTIPLIERS[1], words[2])
        words = [other_high ^ words[1] ^ first, other_low, high ^ words[3] ^ second, low]
    return words


def _product(one: int, words: Words) -> tuple[Words, Words]:
    """The upper and the lower 64 bits of a product of 64 bits each, by schoolbook halves."""
    one_high, one_low = np.uint64(one >> 32), np.uint64(one) & _LOW
    high, low = words >> _HALF, words & _LOW
    middle = one_high * low + (one_low * low >> _HALF)
    crossed = one_low * high + (middle & _LOW)
    return one_high * high + (middle >> _HALF) + (crossed >> _HALF), words * np.uint64(one)
