"""A store of versions: switched whole or not at all, whatever fails on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalade.edge import EdgeClient
from escalade.edge.artifact.manifest import file_entry, read_manifest, write_manifest
from escalade.edge.base.files import is_held, shared_lock
from escalade.edge.deferral.entry import DeferralEntry
from escalade.edge.deferral.router import Router
from escalade.edge.errors import ArtifactError, DataError, ParityError, StoreError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.store.installation import install
from escalade.edge.store.store import Store

Version = Callable[[str], Path]


def put(source: Path, store: Path, **options: int) -> str:
    return install(str(source), store, **options).id


def names(store: Path) -> list[str]:
    return [found.model for found in Store(store).versions()]


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def current(store: Path) -> str:
    return read_manifest(store / "current").model.name


def test_an_installed_artifact_opens_and_is_the_same(version: Version, store: Path) -> None:
    done = install(str(version("a")), store, check=Artifact.open)
    assert (done.before, done.fetched_bytes) == (None, done.total_bytes)
    assert (store / "current").readlink() == Path("versions") / done.id
    there = {path.name: path.read_bytes() for path in (store / "current").iterdir()}
    assert there == {path.name: path.read_bytes() for path in version("a").iterdir()}
    assert Artifact.open(store / "current").generate([4, 8, 5])
    assert sorted(path.name for path in store.iterdir()) == [
        "current", "escalade.lock", "history", "versions",
    ]  # fmt: skip


def test_a_new_version_shares_the_files_that_are_the_same(version: Version, store: Path) -> None:
    first = put(version("a"), store)
    done = install(str(version("b")), store)
    assert (done.before, done.fetched_bytes) == (first, 0)
    assert Store(store).current == done.id
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json"):
        one, other = Store(store).path_of(first) / name, store / "current" / name
        assert one.stat().st_ino == other.stat().st_ino
        assert one.stat().st_mode & 0o222 == 0


def test_a_shared_file_that_was_damaged_is_not_shared(version: Version, store: Path) -> None:
    path = Store(store).path_of(put(version("a"), store)) / "model.onnx.data"
    spoil(path)
    done = install(str(version("b")), store)
    assert done.fetched_bytes == path.stat().st_size
    assert current(store) == "b"


def test_rollback_goes_back_as_often_as_there_are_versions(version: Version, store: Path) -> None:
    a, b, c = (put(version(name), store) for name in "abc")
    assert Store(store).rollback() == (c, b)
    assert Store(store).rollback() == (b, a)
    assert current(store) == "a"
    with pytest.raises(StoreError, match=rf"there is no version before the current one, {a[:12]}$"):
        Store(store).rollback()
    assert Store(store).rollback(to=c[:8]) == (a, c)
    for to, begins in (("xyz", 0), ("", 3), ("\x1b" * 999, 0)):
        with pytest.raises(StoreError, match=rf"which begins {begins}; there are {a[:12]}, ") as no:
            Store(store).rollback(to=to)
        assert len(str(no.value)) < 600
    assert Store(store).current == c


def test_what_was_rolled_back_from_is_not_come_back_to(version: Version, store: Path) -> None:
    for name in "abc":
        put(version(name), store)
    Store(store).rollback()
    put(version("d"), store)
    assert names(store) == ["a", "b", "d"]
    Store(store).rollback()
    assert current(store) == "b"


def test_only_as_many_old_versions_stay_as_asked_for(version: Version, store: Path) -> None:
    for name in "abcd":
        put(version(name), store)
    assert names(store) == ["b", "c", "d"]
    put(version("e"), store, keep=0)
    assert names(store) == ["e"]
    with pytest.raises(StoreError, match="keep must be 0 or more versions, got -1"):
        put(version("f"), store, keep=-1)


def test_a_version_that_somebody_holds_stays(version: Version, store: Path) -> None:
    put(version("a"), store)
    with shared_lock(store / "current") as folder:
        assert is_held(folder)
        done = install(str(version("b")), store, keep=0)
        assert done.removed == []
        assert read_manifest(folder).model.name == "a"
        assert names(store) == ["a", "b"]
    assert not is_held(folder)
    assert install(str(version("c")), store, keep=0).removed == sorted([folder.name, done.id])


def test_an_open_client_goes_on_when_its_version_is_deleted(version: Version, store: Path) -> None:
    put(version("a"), store)
    artifact = Artifact.open(store / "current")
    prompt = artifact.encode("g2p: cascade")
    before = artifact.generate(prompt)
    put(version("b"), store, keep=0)
    assert names(store) == ["b"]
    assert artifact.generate(prompt) == before


def test_a_reader_finds_a_whole_version_at_every_moment(version: Version, store: Path) -> None:
    for name in "ab":
        put(version(name), store)
    found: set[str] = set()
    over = Event()

    def read() -> None:
        while not over.is_set():
            found.add(read_manifest((store / "current").resolve()).model.name)

    with ThreadPoolExecutor() as readers:
        reading = [readers.submit(read) for _ in range(2)]
        b = str(Store(store).current)
        while len(found) < 2 and not reading[0].done():
            Store(store).rollback()
            Store(store).rollback(to=b)
        over.set()
    assert [one.exception() for one in reading] == [None, None]


def test_installing_what_is_there_fetches_nothing(version: Version, store: Path) -> None:
    a, _ = put(version("a"), store), put(version("b"), store)
    done = install(str(version("a")), store)
    assert (done.id, done.fetched_bytes) == (a, 0)
    assert names(store) == ["b", "a"]
    assert current(store) == "a"


def test_a_damaged_version_is_not_rolled_back_to_and_is_mended(
    version: Version, store: Path
) -> None:
    a = put(version("a"), store)
    path = Store(store).path_of(a) / "manifest.json"
    b = put(version("b"), store)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed since it was installed"):
        Store(store).rollback()
    assert Store(store).current == b
    found = {one.id: one.problem for one in Store(store).versions()}
    assert found == {a: "manifest.json was changed since it was installed", b: None}
    path.write_bytes(b"{")
    assert "malformed" in str(Store(store).versions()[0].problem) or "truncated" in str(
        Store(store).versions()[0].problem
    )
    assert put(version("a"), store) == a
    assert current(store) == "a"


def test_a_version_that_fails_its_check_does_not_become_current(
    version: Version, store: Path
) -> None:
    a = put(version("a"), store)
    source = version("b")
    content = json.loads((source / "manifest.json").read_text())
    for golden in content["golden"]:
        golden["nll"] += 1
    (source / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ParityError):
        install(str(source), store, check=Artifact.open)
    assert Store(store).current == a
    assert names(store) == ["a"]


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "tokenizer.json"])
def test_a_damaged_source_does_not_become_current(version: Version, store: Path, name: str) -> None:
    source = version("a")
    (source / name).write_bytes((source / name).read_bytes()[:-40])
    with pytest.raises((ArtifactError, StoreError)):
        put(source, store)
    assert Store(store).current is None
    assert not [path for path in store.glob(".partial*/*") if len(path.name) != 64]


def test_a_source_whose_files_are_links_is_refused(version: Version, store: Path) -> None:
    source = version("a")
    for name in ("model.onnx", "manifest.json"):
        outside = (source / name).rename(source.parent / name)
        (source / name).symlink_to(outside)
        with pytest.raises(ArtifactError, match="not a regular file"):
            put(source, store)
    assert Store(store).current is None


def test_a_folder_that_is_no_store_is_not_touched(version: Version, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter").write_text("dear")
    with pytest.raises(DataError, match=r"mine: is there and holds no escalade\.lock"):
        put(version("a"), mine)
    assert [path.name for path in mine.iterdir()] == ["letter"]
    for call in (Store(mine).versions, Store(mine).rollback):
        with pytest.raises(StoreError, match="mine: no store, or nothing was ever installed"):
            call()


def test_a_source_that_is_none_makes_no_store(tmp_path: Path, store: Path) -> None:
    with pytest.raises(StoreError, match=r"tmp.*: not an artifact: it has no manifest\.json"):
        put(tmp_path, store)
    assert not store.exists()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sampled_from([*"abcd", "back"]), max_size=8), keep=st.integers(0, 3))
def test_whatever_is_installed_in_whatever_order_the_store_is_a_stack(
    version: Version, tmp_path_factory: pytest.TempPathFactory, steps: list[str], keep: int
) -> None:
    store = tmp_path_factory.mktemp("stack") / "store"
    stack: list[str] = []
    top = -1
    for step in steps:
        if step == "back":
            if top > 0:
                top -= 1
                Store(store).rollback()
            elif stack:
                with pytest.raises(StoreError):
                    Store(store).rollback()
        else:
            put(version(step), store, keep=keep)
            stack = [*(old for old in stack[: top + 1] if old != step), step][-(keep + 1) :]
            top = len(stack) - 1
        if stack:
            assert names(store) == stack
            assert current(store) == stack[top]


def test_a_client_needs_nothing_of_a_version_that_went_after_it_was_opened(
    float_artifact: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(float_artifact, tmp_path / "artifact")
    Router([(np.ones((1, 4)), np.zeros(1))]).save(folder / "router.json")
    manifest = read_manifest(float_artifact)
    write_manifest(
        folder,
        msgspec.structs.replace(
            manifest,
            deferral=DeferralEntry(rule="router", router="router.json", threshold=0.5),
            files=manifest.files | {"router.json": file_entry(folder / "router.json")},
        ),
    )
    with EdgeClient.open(folder) as client:
        shutil.rmtree(folder)
        (gate,) = client.cascade.gates
        assert gate is not None
        assert gate.rule.name == "router"
        score = client.ask("g2p: cascade").score
        assert score is not None
        assert 0.0 < score < 1.0
