"""What clients have used up of their day, in a file, so that a restart knows it; knows no bucket.

A line of JSON: each client, and the Unix time at which all its tokens are there again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from escalade.cloud.errors import StartError

_LOG = logging.getLogger(__name__)

# Of any clock; what is more does not fit the integers of JSON's readers.
_UnixSeconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e15)]


class Ledger:
    """The file.

    Args:
        path: need not be there yet.
        wall: Unix seconds.

    Raises:
        StartError: it cannot be read, or not be written, or is something else.
    """

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self._path, self._wall = path, wall
        self._written: bytes | None = None
        self._writing = threading.Lock()
        self._fails = False
        try:
            #: What was in it: by client, seconds until all its tokens are there again.
            self.begun = self._read()
            self._replace(self._encoded(self.begun))
        except OSError as error:
            raise StartError(f"quota file {path}: {error.strerror}") from error

    def write(self, owing: Mapping[str, float]) -> None:
        """Put this in place of what is there; any thread may. A failure is logged once.

        Args:
            owing: by client, seconds until all its tokens are there again.
        """
        try:
            with self._writing:
                self._replace(self._encoded(owing))
        except OSError as error:
            if not self._fails:
                _LOG.warning("quota file %s: cannot be written: %s", self._path, error.strerror)
            self._fails = True
        else:
            self._fails = False

    def _read(self) -> dict[str, float]:
        """See `begun`.

        Raises:
            StartError: it is something else.
        """
        try:
            full_at = msgspec.json.decode(self._path.read_bytes(), type=dict[str, _UnixSeconds])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise StartError(f"quota file {self._path}: is none of ours: {error}") from error
        now_s = self._wall()
        return {owner: at - now_s for owner, at in full_at.items() if at > now_s}

    def _encoded(self, owing: Mapping[str, float]) -> bytes:
        now_s = self._wall()
        # A second more or less is no change that were worth a write.
        return msgspec.json.encode({owner: round(now_s + left) for owner, left in owing.items()})

    def _replace(self, content: bytes) -> None:
        """Write aside and rename: a crash leaves the old file, or the new one."""
        if content == self._written:
            return
        aside = self._path.with_name(f"{self._path.name}.tmp")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        aside.replace(self._path)
        self._written = content
