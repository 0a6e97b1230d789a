"""Reads items out of JSON Lines, parquet, the standard input, a folder; knows no class.

A folder is read file by file in the order of their names. It may grow: whoever adds to it writes a
file elsewhere, or under a name that begins with a dot, and renames it once it is whole, with a name
that comes after those that are there.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import DataError
from escalade.training.online.streams.item import Columns, Item, Itemizer

#: Names the standard input.
STDIN = "-"
# A line that is longer is skipped, not kept in memory.
_LONGEST_LINE = 1 << 22
_ROWS = 1024
_POLL_S = 0.5
_SUFFIXES = (".jsonl", ".parquet")


class Follow(NamedTuple):
    """How long a folder without new files is watched before the stream ends."""

    idle_s: float = 0.0
    clock: Clock = SystemClock()


_TO_THE_END = Follow()


def read_stream(
    path: Path, columns: Columns, labels: Sequence[str], follow: Follow = _TO_THE_END
) -> Iterator[Item]:
    """The items at a path, in their order, as they come.

    Args:
        path: a `.parquet`, a folder of `.jsonl` and `.parquet`, `-` for JSON Lines on the standard
            input, or JSON Lines.
        columns: what the parts of an item are called.
        labels: names of the classes, by which columns may number them.
        follow: for a folder.

    Raises:
        DataError: while iterating: it cannot be read, or lacks a column; no item was given then.
    """
    itemizer = Itemizer(columns, labels)
    waiting: list[Item] = []
    for item in _items(path, columns, itemizer, follow):
        waiting.append(item)
        if not itemizer.looking:
            yield from waiting
            waiting.clear()
    itemizer.finish()
    yield from waiting


def _items(path: Path, columns: Columns, itemizer: Itemizer, follow: Follow) -> Iterator[Item]:
    for file in _growing(path, follow) if path.is_dir() else [path]:
        try:
            if file.suffix == ".parquet":
                yield from _parquet(file, columns, itemizer)
            else:
                with _opened(file) as stream:
                    yield from _json_lines(stream, itemizer)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def _opened(file: Path) -> IO[bytes]:
    return os.fdopen(os.dup(0), "rb") if str(file) == STDIN else file.open("rb")


def _growing(folder: Path, follow: Follow) -> Iterator[Path]:
    read: list[str] = []
    quiet_since_s = follow.clock.now_s()
    while True:
        names = sorted(
            one.name
            for one in folder.iterdir()
            if one.suffix in _SUFFIXES and not one.name.startswith(".")
        )
        new = [name for name in names if not read or name > read[-1]]
        if late := set(names) - set(new) - set(read):
            raise DataError(
                f"{folder / min(late)}: came after {read[-1]} was read, and its name comes before;"
                " files of a stream are read in the order of their names"
            )
        if new:
            read.append(new[0])
            yield folder / new[0]
            quiet_since_s = follow.clock.now_s()
        elif follow.clock.now_s() - quiet_since_s >= follow.idle_s:
            return
        else:
            follow.clock.sleep_s(min(_POLL_S, follow.idle_s))


def _json_lines(stream: IO[bytes], itemizer: Itemizer) -> Iterator[Item]:
    decoder = msgspec.json.Decoder(dict[str, object])
    begins = True
    while line := stream.readline(_LONGEST_LINE):
        if begins:
            line, begins = line.removeprefix(codecs.BOM_UTF8), False
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := stream.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield itemizer.refuse(f"line longer than {_LONGEST_LINE} bytes")
        elif line.strip():
            yield _of_line(line, decoder, itemizer)


def _of_line(
    line: bytes, decoder: msgspec.json.Decoder[dict[str, object]], itemizer: Itemizer
) -> Item:
    try:
        row = decoder.decode(line)
    except msgspec.ValidationError:
        return itemizer.refuse("no JSON object")
    except RecursionError:
        return itemizer.refuse("JSON nested too deep")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return itemizer.refuse("no JSON" if _is_text(line) else "not UTF-8")
    return itemizer.item(row)


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parquet(path: Path, columns: Columns, itemizer: Itemizer) -> Iterator[Item]:
    import pyarrow
    from pyarrow import parquet

    wanted = [c for c in (columns.text, columns.id, columns.label, columns.expert) if c is not None]
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in wanted:
                if column not in names:
                    raise DataError(f"{path}: has no column {column!r}; it has {', '.join(names)}")
            for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
                for row in _rows(batch):
                    yield itemizer.refuse("not UTF-8") if row is None else itemizer.item(row)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: no parquet that can be read: {error}") from error


def _rows(batch: Any) -> Iterator[Mapping[str, object] | None]:  # noqa: ANN401 - pyarrow's
    """Those of a record batch; None for one whose text is no UTF-8."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for k in range(batch.num_rows):
        try:
            yield batch.slice(k, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield None
