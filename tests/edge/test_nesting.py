"""JSON that is nested deeper than Python goes is refused, by all that read what others wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.edge.artifact import load_manifest
from escalade.edge.base import read_records
from escalade.edge.classification import read_linear_folder
from escalade.edge.deferral.router_file import read_layers
from escalade.edge.errors import ArtifactError, DataError
from escalade.edge.trace import read_trace


@pytest.mark.parametrize("opens", [b'{"schema": ', b"[", b'{"other": '])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("records.jsonl", read_records),
        ("trace.jsonl", read_trace),
        ("router.json", read_layers),
        ("classification.json", lambda path: read_linear_folder(path.parent)),
        ("manifest.json", lambda path: load_manifest(path.parent)),
    ],
)
def test_it_is_refused_by_name(
    tmp_path: Path, name: str, read: Callable[[Path], object], opens: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(opens * 9999)
    with pytest.raises((ArtifactError, DataError)) as caught:
        read(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
