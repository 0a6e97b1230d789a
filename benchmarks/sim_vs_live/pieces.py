"""What was measured, in the files of a folder, so that a run goes on where it was cut off."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from benchmarks.sim_vs_live.loads import Load

from escalade.edge.base import UNDECODABLE, atomic_write

#: That virtual time draws a network. What is live has one draw, and so one's chance in it.
#: Under load a draw takes a tenth of a second and more.
DRAWS, LOADED_DRAWS = 200, 50

T = TypeVar("T")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One network, one number of tiers and one load: N queries, live and in virtual time."""

    profile: str
    tiers: int
    load: Load
    live_s: list[float]
    #: Of each draw of the network.
    virtual_s: list[list[float]]
    #: Which of them the device sends on; under load all.
    live_sent: list[bool]
    virtual_sent: list[bool]
    #: Under load: calls a second, the share of its time that the busiest server is at work in
    #: virtual time, and what the control found: what is added to each call on average, and by how
    #: much one beside it makes it longer.
    rate: float | None = None
    utilisation: float | None = None
    overhead_s: float | None = None
    slowdown: float | None = None
    #: Seconds of all cores meanwhile that the machine's host gave to others.
    stolen_s: float | None = None
    #: Under load, of each call: what it takes by itself where nothing delays, and what virtual time
    #: adds to that, the network and the queue; a mean of the draws, without what the control found.
    own_s: list[float] | None = None
    added_s: list[float] | None = None

    @property
    def name(self) -> str:
        """Of its file."""
        return name_of(self.load, self.tiers, self.profile)


def name_of(load: Load, tiers: int, profile: str) -> str:
    """Of a piece's file."""
    return f"{load}-{tiers}-{profile}"


def draws_of(seed: int, many: int = DRAWS) -> range:
    """Seeds of the network's draws."""
    return range(seed * DRAWS, seed * DRAWS + many)


def keep(folder: Path, name: str, what: object) -> None:
    """Write a result down, whole or not at all."""
    with atomic_write(folder / f"{name}.json") as stream:
        stream.write(msgspec.json.encode(what))


def kept(path: Path, kind: type[T]) -> T:
    """What was written down.

    Raises:
        SystemExit: it is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except UNDECODABLE as error:
        sys.exit(f"{path}: damaged: {error}; it is measured anew where it is removed")


def round_in(folder: Path, number: int) -> Path:
    """The folder of a round, from 1 on."""
    return folder / f"round-{number}"


def rounds_in(folder: Path) -> list[Path]:
    """Folders of rounds that are there, in their order."""
    return sorted(folder.glob("round-*"), key=lambda path: int(path.name.partition("-")[2]))


def pieces_in(rounds: Sequence[Path]) -> list[list[Piece]]:
    """Those that are there: each in all rounds that have it, in no order that means anything."""
    found: dict[str, list[Piece]] = {}
    for folder in rounds:
        for path in sorted((*folder.glob("light-*.json"), *folder.glob("loaded-*.json"))):
            piece = kept(path, Piece)
            found.setdefault(piece.name, []).append(piece)
    return list(found.values())


def pooled(rounds: Sequence[Piece]) -> Piece:
    """One piece of all queries of its rounds, each round as live as in virtual time."""
    draws = zip(*(one.virtual_s for one in rounds), strict=True)
    return Piece(
        profile=rounds[0].profile,
        tiers=rounds[0].tiers,
        load=rounds[0].load,
        live_s=[each for one in rounds for each in one.live_s],
        virtual_s=[[each for of in draw for each in of] for draw in draws],
        live_sent=[each for one in rounds for each in one.live_sent],
        virtual_sent=[each for one in rounds for each in one.virtual_sent],
        utilisation=rounds[0].utilisation,
        own_s=_of_all([one.own_s for one in rounds]),
        added_s=_of_all([one.added_s for one in rounds]),
    )


def _of_all(rounds: Sequence[list[float] | None]) -> list[float] | None:
    """None where one has none, as those of older folders."""
    whole = [of for of in rounds if of is not None]
    return None if len(whole) < len(rounds) else [each for of in whole for each in of]
