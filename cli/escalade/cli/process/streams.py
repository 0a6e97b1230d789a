"""The standard streams, so that no output fails after the work; knows no part and no text."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STDOUT = 1
_LAST = 2  # of stdin, stdout, stderr


class _Named(io.TextIOWrapper):
    """Standard output, which says its name where it cannot be written."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        with _naming():
            return super().write(text)

    def flush(self) -> None:
        with _naming():
            super().flush()


@contextmanager
def _naming() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        if not isinstance(error, BrokenPipeError):  # else the interpreter says it again as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        raise


def prepare_streams() -> str | None:
    """Make output that cannot fail for want of a character, or of an open file.

    What a stream's encoding lacks is written as an escape, and standard output says its name. Where
    stdin or stderr is closed, the null device stands in, so that no file that is opened later takes
    its number.

    Returns:
        What is wrong where there is nowhere for results to go; None where all is well.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(_LAST, "w", closefd=False), write_through=True)
    if sys.stdout is None:
        return "standard output is closed; give > /dev/null where it is not wanted"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _Named(sys.stdout)
    return None


def is_reader_gone() -> bool:
    """Whether nobody reads stdout or stderr any more (`| head -1`); what follows is dropped."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # no file of the system's
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat()):
                gone |= stream is sys.stdout  # rich has dropped it already
            elif any(event & select.POLLERR for _, event in poll.poll(0)):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                gone = True
    return gone
