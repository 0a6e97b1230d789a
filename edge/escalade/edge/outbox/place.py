"""Where an outbox is and how much it takes; opens none."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

# A day's queries of one person, and a week away from any network.
MAX_QUERIES, MAX_AGE_S = 1000, 7 * 24 * 3600.0


class OutboxOptions(NamedTuple):
    """An outbox, and whose queries are put there."""

    path: Path
    #: Of which cascade; others may share the file.
    cascade: str
    #: Queries and answers that it holds; one more is refused.
    max_queries: int = MAX_QUERIES
    #: Seconds that a query waits, and that an answer nobody takes stays.
    max_age_s: float = MAX_AGE_S


def default_path() -> Path:
    """The user's own, where the system keeps such things."""
    import platformdirs

    return platformdirs.user_state_path("escalade", appauthor=False) / "outbox.sqlite"
