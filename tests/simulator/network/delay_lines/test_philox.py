"""Numbers of many generators at once are numpy's own, one generator after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from escalade.simulator.network.delay_lines.philox import uniforms

words = st.integers(0, 2**64 - 1)


@given(words, st.lists(words, max_size=5), st.tuples(words, words, words), st.integers(0, 9))
def test_uniforms_are_numpys(
    seed: int, queries: list[int], counter: tuple[int, int, int], count: int
) -> None:
    found = uniforms(seed, np.array(queries, dtype=np.uint64), counter, count)
    assert found.shape == (count, len(queries))
    for column, query in zip(found.T, queries, strict=True):
        key = np.array([seed, query], dtype=np.uint64)
        begins = np.array([0, *counter], dtype=np.uint64)
        own = np.random.Generator(np.random.Philox(key=key, counter=begins))
        assert column.tolist() == [own.random() for _ in range(count)]
