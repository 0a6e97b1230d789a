"""What would be different if there were another cascade to open; opens no artifact."""

from __future__ import annotations

from pathlib import Path

from escalade.edge.artifact import MANIFEST_NAME, SIGNATURE_NAME
from escalade.edge.cascade_file.reading import read_cascade_file
from escalade.edge.cascade_file.tables import artifacts_of
from escalade.edge.errors import EdgeError

#: How often files are looked at: a few `stat` for each member.
LOOK_EVERY_S = 1.0

#: Where a path leads; and inode, times and size there.
Seen = tuple[str, int, int, int, int] | str


def look(path: Path) -> list[Seen]:
    """What lies at a cascade's file and its artifacts', or in an artifact's folder."""
    if path.is_dir():
        return _of_artifact(path)
    found = [_signature(path)]
    try:
        content = read_cascade_file(path)
    except EdgeError:
        return found
    for table in content.tiers:
        for member in artifacts_of(table):
            found += _of_artifact(path.parent / member.artifact)
    return found


def _of_artifact(folder: Path) -> list[Seen]:
    return [_signature(folder / name) for name in (MANIFEST_NAME, SIGNATURE_NAME)]


def _signature(path: Path) -> Seen:
    try:
        leads = str(path.resolve(strict=True))
        status = path.stat()
    except OSError as error:
        return type(error).__name__
    return leads, status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size
