"""Silences what third-party exporters say on the way; errors and exceptions still come through."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from escalade.checkpoint import no_bars


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop prints, warnings and log lines below ERROR inside the block.

    The exporters tell every node they look at; a user waits for one line.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            no_bars(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
