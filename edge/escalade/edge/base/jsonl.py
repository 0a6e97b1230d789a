"""Reads JSON Lines and other texts that people bring; knows no record.

A file is read once, from its beginning to its end, so that it may be a pipe; who wants its digest
passes one, and it is of what was read. `-` is the standard input.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol, TypeVar

import msgspec

from escalade.edge.base.validation import explain
from escalade.edge.errors import DataError

T = TypeVar("T")

#: What `msgspec.json` raises of what is no JSON, of another kind, or nested too deep.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_STDIN = Path("-")
# What other encodings and containers begin with; UTF-32 before UTF-16, whose mark begins like it.
_OTHERS = (
    (codecs.BOM_UTF32_LE, "UTF-32 text; save it as UTF-8"),
    (codecs.BOM_UTF32_BE, "UTF-32 text; save it as UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16 text; save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "UTF-16 text; save it as UTF-8"),
    (b"\x1f\x8b", "gzip; give <(zcat FILE)"),
    (b"\x28\xb5\x2f\xfd", "zstd; give <(zstdcat FILE)"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
)
# Between two records no JSON has it: there is no comma.
_CR_ALONE = re.compile(rb"\}[ \t]*\r[ \t\r]*\{")
_LAYOUT = "; JSON Lines are wanted, each record on a line of its own, as `jq -c '.[]'` writes them"


class Digest(Protocol):
    """What is updated with bytes as they are read, such as `hashlib.sha256()`."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...


#: Told the number of a line that was cut off.
Torn = Callable[[int], None]


def iter_jsonl(
    path: Path, kind: type[T], digest: Digest | None = None, *, on_torn: Torn | None = None
) -> Iterator[tuple[int, T]]:
    """Yield `(line number, value)` for each line that is not blank.

    Args:
        path: the file.
        kind: of its values.
        digest: see `Digest`.
        on_torn: told the number of a last line that is half there, which is left out; None refuses
            one. One that begins the file must be the beginning of an object.

    Raises:
        DataError: the file cannot be read or a line does not hold a `kind`.
    """
    try:
        stream = os.fdopen(os.dup(0), "rb") if path == _STDIN else path.open("rb")
        with stream:
            yield from jsonl_lines(stream, path, kind, digest, on_torn=on_torn)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def jsonl_lines(
    stream: Iterable[bytes],
    path: Path,
    kind: type[T],
    digest: Digest | None = None,
    *,
    on_torn: Torn | None = None,
) -> Iterator[tuple[int, T]]:
    """As `iter_jsonl`, from a stream that messages call `path`."""
    decoder = msgspec.json.Decoder(kind)
    begun, offset = False, 0
    for number, line in enumerate(stream, start=1):
        if digest is not None:
            digest.update(line)
        text = without_mark(line, path) if number == 1 else line
        at, offset = offset, offset + len(line)
        if not text.strip():
            continue
        try:
            value = decoder.decode(text)
        except UNDECODABLE as error:
            if _CR_ALONE.search(text):
                raise DataError(
                    f"{path}:{number}: lines end in CR (0x0d) alone; LF or CRLF is wanted, as"
                    " `tr '\\r' '\\n'` writes it"
                ) from error
            cut = not line.endswith(b"\n") and (begun or _is_beginning(text))
            if on_torn is not None and cut:
                on_torn(number)
                return
            _check_utf8(line, at, f"{path}:{number}")
            layout = _LAYOUT if text.strip() == b"{" or text.lstrip().startswith(b"[") else ""
            said = str(error)
            if isinstance(error, msgspec.ValidationError):
                said = explain(error, text, kind)
            raise DataError(f"{path}:{number}: not a valid record: {said}{layout}") from error
        begun = True
        yield number, value


def _is_beginning(line: bytes) -> bool:
    """Whether an object may begin so; a file system may have kept a length, and not the content."""
    begun = line.rstrip(b"\0")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begun)  # a last character may be cut
    except UnicodeDecodeError:
        return False
    return begun.lstrip()[:1] in {b"", b"{"}


def _check_utf8(line: bytes, offset: int, where: str) -> None:
    """Refuse a line that is no text, by the byte and its place in the file.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        line.decode()
    except UnicodeDecodeError as error:
        byte, at = line[error.start], offset + error.start
        raise DataError(f"{where}: not UTF-8 text: byte 0x{byte:02x} at offset {at}") from error


def read_text(stream: IO[bytes], path: Path, most_bytes: int) -> str:
    """The text of a file in UTF-8, with or without a mark at its beginning.

    Args:
        stream: at its beginning.
        path: what messages call it.
        most_bytes: that it may have.

    Raises:
        DataError: it is longer, or no such text.
    """
    raw = stream.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise DataError(f"{path}: more than {most_bytes} bytes")
    try:
        return without_mark(raw, path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from error


def without_mark(raw: bytes, path: Path) -> bytes:
    """The beginning of a text without the mark that some editors put before UTF-8.

    Raises:
        DataError: it is in another encoding, or packed.
    """
    for begins, what in _OTHERS:
        if raw.startswith(begins):
            raise DataError(f"{path}: is {what}")
    return raw.removeprefix(codecs.BOM_UTF8)
