"""Memory goes back after a flood, and what is in use is not tried for ever."""

from __future__ import annotations

import asyncio
import sys

import pytest

from escalade.cloud.heap import find_trim, keep_trimmed, resident_bytes

MIB = 1 << 20


def test_what_has_grown_is_tried_until_it_is_taken_to_be_in_use() -> None:
    sizes = iter([100, 120, 500, 400, 110, 600, 600, 600, 600, 600, 600, 600, 600])
    trimmed: list[int] = []
    last = 0

    def resident() -> int:
        nonlocal last
        last = next(sizes) * MIB
        return last

    async def main() -> None:
        # The sizes end, and with them the task.
        await keep_trimmed(lambda: trimmed.append(last // MIB), resident=resident, every_s=0)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())
    assert trimmed == [500, 400, 600, 600, 600, 600, 600]


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")
def test_this_system_says_what_is_resident_and_can_give_back() -> None:
    assert resident_bytes() > 10 * MIB
    trim = find_trim()
    assert trim is None or trim() in (0, 1)
