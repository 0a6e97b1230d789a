"""What would be different if there were another cascade to open; opens no artifact."""

from __future__ import annotations

from pathlib import Path

from escalade.edge.artifact import MANIFEST_NAME, SIGNATURE_NAME
from escalade.edge.cascade_file.reading import read_cascade_file
from escalade.edge.cascade_file.tables import artifacts_of
from escalade.edge.errors import EdgeError
from escalade.v1 import watched_files


def look(path: Path) -> watched_files.Seen:
    """What lies at a cascade's file and its artifacts', or in an artifact's folder."""
    return watched_files.look(_files_of(path))


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return _of_artifact(path)
    try:
        content = read_cascade_file(path)
    except EdgeError:
        return [path]
    members = [member for table in content.tiers for member in artifacts_of(table)]
    inner = [file for one in members for file in _of_artifact(path.parent / one.artifact)]
    return [path, *inner]


def _of_artifact(folder: Path) -> list[Path]:
    return [folder / name for name in (MANIFEST_NAME, SIGNATURE_NAME)]
