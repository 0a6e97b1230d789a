"""An artifact that is older than the current one: said, and taken only when asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from escalade.edge.artifact import Manifest, load_manifest
from escalade.edge.errors import StoreError
from escalade.edge.store.age import is_older
from escalade.edge.store.installation import install
from escalade.edge.store.store import Store

Made = Callable[[str], Path]
OLD, NEW = "2026-01-31T12:00:00+00:00", "2026-01-31T12:00:01+00:00"


@pytest.fixture
def made(float_artifact: Path, tmp_path: Path) -> Made:
    """A copy of the artifact that was made at another time."""

    def make(created: str) -> Path:
        folder = tmp_path / f"made-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(float_artifact, folder)
        content = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(content | {"created": created}))
        return folder

    return make


def test_an_older_artifact_is_taken_only_when_asked_for(made: Made, tmp_path: Path) -> None:
    old, new, store = made(OLD), made(NEW), tmp_path / "store"
    first = install(str(old), store).id
    second = install(str(new), store).id
    for _ in range(2):  # whether the store still has it or not
        with pytest.raises(StoreError, match=rf"made at '{OLD[:19]}.*before the current version"):
            install(str(old), store)
        assert Store(store).current == second
        install(str(new), store, keep=0)
    assert install(str(old), store, allow_older=True).id == first
    assert Store(store).rollback() == (first, second)


def test_going_back_is_no_reason_to_refuse_what_is_newer(made: Made, tmp_path: Path) -> None:
    old, new, store = made(OLD), made(NEW), tmp_path / "store"
    first = install(str(old), store).id
    second = install(str(new), store).id
    Store(store).rollback()
    assert install(str(new), store).before == first
    assert Store(store).current == second


def test_one_that_grew_old_while_it_came_is_refused(made: Made, tmp_path: Path) -> None:
    old, new, store = made(OLD), made(NEW), tmp_path / "store"
    with pytest.raises(StoreError, match="before the current version"):
        install(str(old), store, check=lambda folder: install(str(new), store))
    assert load_manifest(store / "current").created == NEW


def test_a_damaged_version_is_replaced_by_whatever_mends_it(made: Made, tmp_path: Path) -> None:
    old, new, store = made(OLD), made(NEW), tmp_path / "store"
    install(str(new), store)
    path = store / "current" / "manifest.json"
    path.write_bytes(b"{")
    install(str(old), store)
    assert load_manifest(store / "current").created == OLD


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (OLD, NEW),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T11:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:01"),
        ("yesterday", OLD),
        ("", "0001-01-02"),
        ("9" * 80, OLD),
    ],
)
def test_times_are_compared_whatever_their_form(
    float_artifact: Path, older: str, newer: str
) -> None:
    one, other = (_made_at(float_artifact, time) for time in (older, newer))
    assert is_older(one, other)
    assert not is_older(other, one)
    assert not is_older(one, one)


def _made_at(artifact: Path, time: str) -> Manifest:
    return msgspec.structs.replace(load_manifest(artifact), created=time)
