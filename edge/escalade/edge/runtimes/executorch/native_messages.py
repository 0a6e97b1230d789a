"""Drops known messages that native code writes to stderr; knows no runtime, no model.

Such lines pass Python by: they go to the process's descriptor 2. What is not known to be noise,
errors first of all, is written on when the block ends.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence

_STDERR = 2


@contextlib.contextmanager
def without_messages(noise: Sequence[bytes]) -> Iterator[None]:
    """Hold back stderr inside the block; afterwards write what does not begin with `noise`.

    Other threads' lines wait too, so the block should be short. Where stderr is closed, nothing
    is held back.
    """
    try:
        kept = os.dup(_STDERR)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not line.startswith(tuple(noise)):
                    os.write(_STDERR, line)
