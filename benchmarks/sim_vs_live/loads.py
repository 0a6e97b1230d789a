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
#: What loaded calls would keep the cloud at work, of its time, if it took one after the other.
SHARE = 0.7
#: Control and network take turns, one part of it, two of the network, two of the control, and so
#: on: a machine that grows faster or slower does so for both alike. With four parts, of ten seconds
#: each, rounds differed by 4 to 8 % where a shared machine was faster now, slower then.
PARTS = 16
#: Of what is asked for so many of.
LEAST = {"queries": 1, "calls": 1, "parts": 1, "rounds": 1, "seed": 0}
