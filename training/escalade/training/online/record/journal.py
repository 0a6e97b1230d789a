"""An expert whose answers are kept before they are used; knows no level and no label.

An answer costs money: one that came before a crash is not asked for again. A process that dies
loses none; a power cut none but those that can be had again for nothing.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import msgspec

from escalade.edge.base import Clock, jsonl_lines
from escalade.edge.errors import DataError
from escalade.training.online.experts import Expert, ExpertError
from escalade.training.online.record.files import LineFile
from escalade.training.online.streams import Item


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of asking the expert once: a line of `expert.jsonl`."""

    item: int
    #: CRC-32 of the item's text, in UTF-8.
    crc32: int
    #: Its answer; None where there was none.
    text: str | None = None
    #: Why there was none.
    error: str = ""
    model: str = ""
    tokens: int | None = None
    seconds: float = 0.0


class Journal:
    """Asks an expert, or gives what it said before a run was cut off."""

    def __init__(self, path: Path, expert: Expert, clock: Clock, *, first: int) -> None:
        """Read what is there; a last line that is half there goes.

        Args:
            path: of the journal; begun where it is not there.
            expert: who is asked.
            clock: measures it.
            first: the item that the run goes on with.

        Raises:
            DataError: the file cannot be read or written, or holds something else.
        """
        self._path, self._expert, self._clock = path, expert, clock
        self._file = LineFile(path)
        try:
            entries = jsonl_lines(self._file.lines(), path, Entry)
            self._kept = {entry.item: entry for _, entry in entries if entry.item >= first}
        except DataError:
            self._file.close()
            raise

    def ask(self, item: Item) -> Entry:
        """What the expert says of an item.

        Raises:
            DataError: the answer cannot be kept; or one was kept that is of another text.
        """
        check = crc32(item.text.encode())
        if (kept := self._kept.pop(item.number, None)) is not None:
            if kept.crc32 != check:
                raise DataError(
                    f"{self._path}: item {item.number} had another text when the expert was asked;"
                    " give the stream that the run began with"
                )
            return kept
        started_s = self._clock.now_s()
        try:
            reply = self._expert.ask(item)
        except ExpertError as error:
            entry = Entry(item=item.number, crc32=check, error=str(error) or "no answer")
        else:
            entry = Entry(
                item=item.number,
                crc32=check,
                text=reply.text,
                model=reply.model,
                tokens=reply.tokens,
            )
        seconds = self._clock.now_s() - started_s
        entry = msgspec.structs.replace(entry, seconds=round(seconds, 6))
        self._file.add(msgspec.json.encode(entry))
        if not self._expert.free:
            self._file.sync()
        return entry

    def sync(self) -> None:
        """Wait for the disk."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
