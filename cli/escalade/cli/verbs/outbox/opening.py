"""Opens the outbox that a user means, whosever queries are in it; asks nobody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from escalade.cli.errors import MissingError

if TYPE_CHECKING:
    from escalade.edge.outbox import Outbox


def open_outbox(path: Path | None) -> Outbox:
    """Open the file at a path; None takes the user's own.

    Raises:
        MissingError: there is none: nothing was kept yet.
        OutboxError: it cannot be opened.
    """
    from escalade.edge.outbox import Outbox, OutboxOptions, default_path

    at = path or default_path()
    check_there(at)
    return Outbox(OutboxOptions(at, ""))


def check_there(path: Path) -> None:
    """Refuse the name of an outbox that is not there, where nothing is to be kept.

    Raises:
        MissingError: there is none: nothing was kept yet.
    """
    if not path.exists():
        raise MissingError(f"{path}: no outbox; `escalade ask --on-outage queue` makes one")
