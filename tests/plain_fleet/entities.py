"""Queries, devices and servers of a plain fleet, each an object; knows no event."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False)
class Query:
    key: int
    device: Device
    group: int
    record: int
    came_s: float
    first_s: float = 0.0
    attempt: int = 0
    has_left: bool = False
    #: Where it has a place at a gateway that is not answered.
    place: Server | None = None
    since_s: float = 0.0
    #: When it came into a slot.
    began_s: float = 0.0
    is_past: bool = False
    #: Where it comes to when it comes; None is the cloud.
    gateway: Server | None = None


@dataclass(eq=False)
class Connection:
    used_s: float = -math.inf
    open_s: float = -math.inf


@dataclass(eq=False)
class Device:
    group: int
    queries: int = 0
    expected: float = 0.0
    queue: deque[Query] = field(default_factory=deque)
    is_busy: bool = False
    connection: Connection = field(default_factory=Connection)
    #: To the cloud, past its gateway.
    past: Connection = field(default_factory=Connection)


@dataclass(eq=False)
class Server:
    """A gateway, or a replica of the cloud."""

    number: int
    slots: int
    slowdown: float
    is_gateway: bool = False
    is_taking: bool = False
    #: Of a gateway.
    waiting: deque[Query] = field(default_factory=deque)
    #: `(progress at its end, order, query)`.
    queries: list[tuple[float, int, Query]] = field(default_factory=list)
    done_s: float = 0.0
    moved_s: float = 0.0
    #: Of the event that is meant: those planned before it are not.
    planned: int = 0
    #: Of a gateway: its kind, queries that are not answered, and after how long others come again.
    kind: int = 0
    held: int = 0
    retry_s: float = 0.1
    connection: Connection = field(default_factory=Connection)
