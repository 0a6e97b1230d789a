"""A file of tokens that a test changes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from escalade.cloud.access import (
    Limits,
    entry_of,
    make_token,
    with_entry,
    without_entry,
)


class Issued:
    """A file of tokens that a test changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("")

    def new(self, name: str, *limits: int | None, expires: datetime | None = None) -> str:
        token = make_token()
        entry = entry_of(token, Limits(*limits), expires)
        self.path.write_text(with_entry(self.path.read_text(), name, entry))
        return token

    def revoke(self, name: str) -> None:
        self.path.write_text(without_entry(self.path.read_text(), name))


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Issued(tmp_path / "tokens.toml")
