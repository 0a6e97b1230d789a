"""The loads and sizes that a cascade is held to virtual time under; loads nothing itself.

Each process that is begun reads the program's first file, which names these: it is to be there at
once.
"""

from __future__ import annotations

from typing import Literal, get_args

#: One query after the other, and calls in an open loop.
Load = Literal["light", "loaded"]
LOADS: tuple[Load, ...] = get_args(Load)
TIERS = (2, 3)
