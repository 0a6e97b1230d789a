"""Walks through a GGUF file by its lengths and counts, and says which does not fit; knows no model.

A length in a damaged file may be any number. gguf's reader takes what is left in place of what a
length says, and makes a list as long as a count says, so both are held against the file first.
Lengths and types are those of llama.cpp's specification (ggml, docs/gguf.md).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

from escalade.edge.base import listed
from escalade.export.errors import ModelError

MAGIC = b"GGUF"
# Version 1 had lengths of 4 bytes; gguf and llama.cpp read it no more.
_VERSIONS = (2, 3)
# Bytes of a value, by its type; strings and arrays say theirs.
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _STRING, _ARRAY = 4, 8, 9
_TYPES = (*_WIDTHS, _STRING, _ARRAY)
# The least that a key with its value takes, and a tensor's entry.
_LEAST_KEY, _LEAST_TENSOR = 8 + 4 + 1, 8 + 4 + 4 + 8
_MOST_DIMENSIONS = 4  # GGML_MAX_DIMS, ggml.h
_ALIGNMENT_KEY, _ALIGNMENT = "key 'general.alignment'", 32
_MOST_SHOWN = 64


def check_layout(path: Path, blocks: Mapping[int, tuple[int, int]]) -> None:
    """Hold every length and count of a file against the file.

    Args:
        path: of a file that begins with `MAGIC`.
        blocks: numbers in a block, and its bytes, by the type of a tensor.

    Raises:
        ModelError: one leads beyond the end of the file, or a type is not known.
    """
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        _check_keys_and_tensors(_Walk(path, content), blocks)


class _Walk:
    """A place in a file that goes forward only."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path, self.content = path, content
        self.at, self.size = len(MAGIC), len(content)

    def wrong(self, why: str) -> ModelError:
        return ModelError(f"{self.path}: cut short, or damaged: {why}")

    def skip(self, length: int, what: str) -> int:
        """Go on by so many bytes; returns where they begin."""
        begins, left = self.at, self.size - self.at
        if length > left:
            raise self.wrong(f"{what} at byte {begins} takes {length} bytes, and {left} are left")
        self.at += length
        return begins

    def number(self, kind: str, what: str) -> int:
        """The next number; `kind` is struct's."""
        begins = self.skip(struct.calcsize(f"={kind}"), what)
        (found,) = struct.unpack_from(f"={kind}", self.content, begins)
        return int(found)

    def count(self, least: int, what: str) -> int:
        """The next number, of things that take `least` bytes each or more."""
        begins, found = self.at, self.number("Q", what)
        if found * least > self.size - self.at:
            raise self.wrong(
                f"{what} at byte {begins} is {found}, and the {self.size - self.at} bytes behind"
                f" have room for {(self.size - self.at) // least}"
            )
        return found

    def text(self, what: str) -> bytes:
        """The next string, unread."""
        length = self.number("Q", f"the length of {what}")
        begins = self.skip(length, what)
        return bytes(self.content[begins : begins + length])

    def name(self, kind: str, what: str) -> str:
        """The next string as messages say it, with what it is the name of."""
        begins, raw = self.at, self.text(f"the name of {what}")
        try:
            name = raw.decode()
        except UnicodeDecodeError as error:
            raise self.wrong(f"the name of {what} at byte {begins} is no UTF-8 text") from error
        return f"{kind} {name[:_MOST_SHOWN]!r}{'...' * (len(name) > _MOST_SHOWN)}"


def _check_keys_and_tensors(walk: _Walk, blocks: Mapping[int, tuple[int, int]]) -> None:
    version = walk.number("I", "the version")
    if version not in _VERSIONS:
        raise walk.wrong(f"its version must be 2 or 3, got {version}")
    tensors = walk.count(_LEAST_TENSOR, "the count of tensors")
    keys = walk.count(_LEAST_KEY, "the count of keys")
    alignment = _ALIGNMENT
    for k in range(keys):
        said = walk.name("key", f"key {k + 1} of {keys}")
        kind = walk.number("I", f"the type of {said}")
        begins = walk.at
        _skip_value(walk, kind, said)
        if said == _ALIGNMENT_KEY and kind == _UINT32:
            (alignment,) = struct.unpack_from("=I", walk.content, begins)
    if alignment < 1 or alignment & (alignment - 1):
        raise walk.wrong(f"general.alignment must be a power of 2, got {alignment}")
    entries = [_tensor(walk, f"tensor {k + 1} of {tensors}", blocks) for k in range(tensors)]
    begins = -(-walk.at // alignment) * alignment
    for said, offset, length in entries:
        left = max(0, walk.size - begins - offset)
        if length > left:
            raise walk.wrong(
                f"{said} at byte {begins + offset} takes {length} bytes, and {left} are left"
            )


def _skip_value(walk: _Walk, kind: int, said: str) -> None:
    if kind == _STRING:
        walk.text(said)
    elif kind == _ARRAY:
        inner = walk.number("I", f"the type in {said}")
        if inner == _STRING:
            for _ in range(walk.count(8, f"the length of {said}")):
                walk.text(said)
        elif inner in _WIDTHS:
            count = walk.count(_WIDTHS[inner], f"the length of {said}")
            walk.skip(_WIDTHS[inner] * count, said)
        else:  # llama.cpp reads no array of arrays either
            raise walk.wrong(f"the type in {said} is not known: {inner}")
    elif kind in _WIDTHS:
        walk.skip(_WIDTHS[kind], said)
    else:
        raise walk.wrong(f"the type of {said} must be in [0, {max(_TYPES)}], got {kind}")


def _tensor(walk: _Walk, what: str, blocks: Mapping[int, tuple[int, int]]) -> tuple[str, int, int]:
    """What an entry is called, where its numbers begin among all of them, and their bytes."""
    said = walk.name("tensor", what)
    count = walk.number("I", f"the dimensions of {said}")
    if count > _MOST_DIMENSIONS:
        raise walk.wrong(f"{said} must have at most {_MOST_DIMENSIONS} dimensions, got {count}")
    shape = [walk.number("Q", f"a dimension of {said}") for _ in range(count)]
    if not all(shape):
        raise walk.wrong(f"{said} must have dimensions of 1 or more, got {listed(shape)}")
    kind = walk.number("I", f"the type of {said}")
    if kind not in blocks:
        raise walk.wrong(f"the type of {said} is not known: {kind}")
    numbers, size = blocks[kind]
    if shape and shape[0] % numbers:
        raise walk.wrong(f"{said} has rows of {shape[0]}, which no blocks of {numbers} make")
    offset = walk.number("Q", f"the place of {said}")
    return said, offset, prod(shape) // numbers * size
